//! From learning to enforcing and back, step by step.

use jiff::SignedDuration;

use super::sim::{NEW, Sim, USUAL, name};
use crate::crd::{ConditionType as Type, Mode, ViolationState};

const ALL: [&str; 3] = [
    "shop/api-deployment",
    "shop/db-deployment",
    "shop/web-deployment",
];

#[test]
fn without_a_label_every_workload_is_learned_of_and_nothing_is_applied() {
    let mut sim = Sim::new();
    let written = sim.settle();
    assert_eq!(
        written
            .iter()
            .filter(|write| write.starts_with("propose"))
            .count(),
        4
    );
    assert!(sim.policies.is_empty());
    let web = sim.status("shop/web-deployment");
    assert_eq!(web.mode, Some(Mode::Learn));
    assert_eq!(web.workload.as_deref(), Some("Deployment/web"));
    assert_eq!((web.counts.rules, web.counts.edges), (2, 2));
    assert!(web.frozen.is_none() && web.proposal.is_some());
    assert_eq!(
        sim.condition("shop/web-deployment", Type::Complete),
        (true, "Complete".to_owned())
    );
    assert_eq!(sim.round(), Vec::<String>::new());
}

#[test]
fn what_is_learned_extends_the_proposal() {
    let mut sim = Sim::new();
    sim.settle();
    let before = sim
        .status("shop/web-deployment")
        .proposal
        .clone()
        .unwrap()
        .hash;
    sim.see(NEW, "established", 1);
    sim.settle();
    let after = sim
        .status("shop/web-deployment")
        .proposal
        .clone()
        .unwrap()
        .hash;
    assert_ne!(before, after);
    assert!(sim.status("shop/web-deployment").violations.is_empty());
}

#[test]
fn what_is_new_under_audit_is_a_violation_until_it_is_approved_at_both_ends() {
    let mut sim = Sim::in_mode("audit");
    assert!(sim.policies.is_empty());
    let frozen = sim.status("shop/web-deployment").frozen.clone().unwrap();
    assert_eq!(frozen.ingress, [USUAL[0]]);
    assert_eq!(frozen.egress, [USUAL[1]]);
    sim.see(NEW, "established", 3);
    sim.settle();
    let web = sim.status("shop/web-deployment");
    let [violation] = web.violations.as_slice() else {
        panic!("{:#?}", web.violations);
    };
    assert_eq!(
        (violation.edge.as_str(), violation.direction.as_str()),
        (NEW, "egress")
    );
    assert_eq!(
        violation.approve_in,
        ["shop/db-deployment", "shop/web-deployment"]
    );
    assert_eq!(
        (violation.count, violation.state),
        (3, ViolationState::Open)
    );
    assert_eq!(web.frozen, Some(frozen), "nothing is learned");
    assert!(sim.condition("shop/db-deployment", Type::Violations).0);
    assert_eq!(sim.told("shop/web-deployment"), ["Violation"]);
    sim.want("shop/web-deployment", |spec| {
        spec.approved.push(NEW.to_owned())
    });
    sim.settle();
    assert!(sim.status("shop/web-deployment").violations.is_empty());
    let db = &sim.status("shop/db-deployment").violations[0];
    assert_eq!(
        db.approve_in,
        ["shop/db-deployment"],
        "that side is pending still"
    );
    sim.want("shop/db-deployment", |spec| {
        spec.approved.push(NEW.to_owned())
    });
    sim.settle();
    assert!(sim.status("shop/db-deployment").violations.is_empty());
    assert_eq!(sim.status("shop/web-deployment").counts.edges, 3);
}

#[test]
fn a_violation_is_told_once_an_hour_if_it_goes_on() {
    let mut sim = Sim::in_mode("audit");
    sim.see(NEW, "established", 1);
    sim.settle();
    let id = sim.status("shop/web-deployment").violations[0].id.clone();
    for _ in 0..3 {
        sim.wait(SignedDuration::from_mins(10));
        sim.see(NEW, "established", 1);
        sim.settle();
    }
    assert_eq!(sim.told("shop/web-deployment").len(), 1);
    sim.wait(SignedDuration::from_mins(61));
    sim.settle();
    assert_eq!(
        sim.told("shop/web-deployment").len(),
        1,
        "it was not seen since"
    );
    sim.see(NEW, "established", 1);
    sim.settle();
    assert_eq!(sim.told("shop/web-deployment").len(), 2);
    assert_eq!(sim.status("shop/web-deployment").violations[0].id, id);
}

#[test]
fn a_scanner_makes_a_bounded_list() {
    let mut sim = Sim::in_mode("audit");
    for port in 1..=300 {
        let edge = format!("shop/Deployment/web -> shop/Deployment/db {port}/TCP");
        sim.see(&edge, "established", 1);
    }
    sim.settle();
    let web = sim.status("shop/web-deployment");
    assert_eq!((web.violations.len(), web.counts.violations), (100, 300));
    let listed: Vec<String> = web.violations.iter().map(|one| one.id.clone()).collect();
    sim.see(
        "shop/Deployment/web -> shop/Deployment/db 1/UDP",
        "established",
        1,
    );
    sim.settle();
    let after = sim.status("shop/web-deployment").violations.iter();
    let after: Vec<String> = after.map(|one| one.id.clone()).collect();
    assert_eq!(after, listed, "what is listed stays listed");
}

#[test]
fn enforcing_goes_in_steps_and_leaving_it_takes_away_exactly_what_is_ours() {
    let mut sim = Sim::new();
    sim.settings.step = 2;
    sim.put_foreign("theirs", "web");
    sim.settle();
    sim.label("enforce");
    sim.settle();
    let (applied, waits) = sim.condition("shop/web-deployment", Type::Applied);
    assert_eq!((applied, waits.as_str()), (false, "Waiting"));
    assert_eq!(
        sim.live(),
        ["shop/api-deployment", "shop/db-deployment", "shop/theirs"]
    );
    sim.roll_out();
    assert_eq!(sim.live().len(), 4);
    assert_eq!(sim.told("shop/web-deployment"), ["Applied"]);
    for mode in ["audit", "learn", "off", ""] {
        let mut sim = Sim::in_mode("enforce");
        sim.put_foreign("theirs", "web");
        sim.roll_out();
        assert_eq!(sim.live().len(), 4);
        sim.label(mode);
        sim.settle();
        assert_eq!(sim.live(), ["shop/theirs"], "{mode:?}");
        assert!(!sim.condition("shop/web-deployment", Type::Applied).0);
        let frozen = sim.status("shop/web-deployment").frozen.is_some();
        assert_eq!(frozen, mode == "audit");
    }
}

#[test]
fn a_roll_out_halts_while_what_it_applied_has_open_violations() {
    let mut sim = Sim::new();
    sim.settings.step = 1;
    sim.settle();
    sim.label("enforce");
    sim.settle();
    assert_eq!(sim.live(), ["shop/api-deployment"]);
    sim.wait(SignedDuration::from_secs(30));
    sim.see(
        "shop/Deployment/web -> shop/Deployment/api 9090/TCP",
        "unanswered",
        1,
    );
    sim.wait(SignedDuration::from_secs(60));
    sim.settle();
    let status = sim.status("shop/db-deployment");
    let message = &status.condition(Type::Applied).unwrap().message;
    assert!(
        message.contains("halts: api-deployment has open violations: 1"),
        "{message}"
    );
}

#[test]
fn under_enforcement_an_attempt_that_is_denied_is_a_violation_whatever_came_of_it() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    sim.wait(SignedDuration::from_secs(5));
    sim.see(NEW, "unanswered", 4);
    sim.see(USUAL[1], "established", 1);
    sim.settle();
    let web = &sim.status("shop/web-deployment").violations;
    assert_eq!((web.len(), web[0].edge.as_str(), web[0].count), (1, NEW, 4));
    let db = &sim.status("shop/db-deployment").violations;
    assert_eq!((db.len(), db[0].direction.as_str()), (1, "ingress"));
    sim.want("shop/web-deployment", |spec| {
        spec.rejected.push(NEW.to_owned())
    });
    sim.settle();
    let web = sim.status("shop/web-deployment");
    assert_eq!(web.violations[0].state, ViolationState::Rejected);
    assert_eq!((web.counts.open_violations, web.counts.violations), (0, 1));
}

#[test]
fn what_nobody_decided_on_under_audit_is_a_violation_under_enforcement_too() {
    let mut sim = Sim::in_mode("audit");
    sim.see(NEW, "established", 1);
    sim.settle();
    let audited = sim.status("shop/web-deployment").violations.clone();
    let [only] = audited.as_slice() else {
        panic!("{audited:#?}");
    };
    assert!(only.first_seen <= only.last_seen, "{only:#?}");
    sim.wait(SignedDuration::from_secs(60));
    sim.label("enforce");
    sim.roll_out();
    let web = sim.status("shop/web-deployment");
    assert!(web.applied.is_some(), "what was seen before halts nothing");
    assert_eq!(web.violations, audited);
    assert_eq!(sim.told("shop/web-deployment"), ["Violation", "Applied"]);
    sim.want("shop/web-deployment", |spec| {
        spec.approved.push(NEW.to_owned())
    });
    sim.settle();
    assert!(sim.status("shop/web-deployment").violations.is_empty());
}

#[test]
fn approving_under_enforcement_changes_what_is_applied() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    let before = sim.policies[&name("shop/web-deployment")].clone();
    sim.want("shop/web-deployment", |spec| {
        spec.approved.push(NEW.to_owned())
    });
    let written = sim.settle();
    assert!(
        written.contains(&"apply shop/web-deployment".to_owned()),
        "{written:?}"
    );
    let after = &sim.policies[&name("shop/web-deployment")];
    assert_ne!(before.policy.spec, after.policy.spec);
    assert_eq!(
        sim.told("shop/web-deployment"),
        ["Applied"],
        "that is no drift"
    );
}

#[test]
fn what_somebody_changes_in_ours_is_put_right_and_told_but_not_for_ever() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    let web = name("shop/web-deployment");
    let good = sim.policies[&web].policy.spec.clone();
    let open = |sim: &mut Sim| {
        let live = sim.policies.get_mut(&web).unwrap();
        live.policy.spec.as_mut().unwrap().egress = Some(vec![Default::default()]);
    };
    for _ in 0..3 {
        open(&mut sim);
        sim.settle();
        assert_eq!(sim.policies[&web].policy.spec, good);
    }
    open(&mut sim);
    sim.settle();
    assert_ne!(sim.policies[&web].policy.spec, good);
    assert_eq!(
        sim.condition("shop/web-deployment", Type::Applied),
        (true, "Contested".to_owned())
    );
    sim.wait(SignedDuration::from_mins(11));
    sim.settle();
    assert_eq!(sim.policies[&web].policy.spec, good);
    sim.policies.remove(&web);
    sim.settle();
    assert_eq!(
        sim.policies[&web].policy.spec, good,
        "deleted is changed too"
    );
    assert_eq!(sim.memory.repairs.len(), 1);
    let known = sim.proposals.remove(&web).unwrap();
    sim.decide();
    assert!(sim.memory.repairs.is_empty(), "that is forgotten with it");
    sim.proposals.insert(web.clone(), known);
    sim.shop().pause = true;
    open(&mut sim);
    sim.settle();
    assert_ne!(sim.policies[&web].policy.spec, good, "paused");
}

#[test]
fn good_edges_that_fail_after_an_apply_take_the_policy_off_until_somebody_says_so() {
    let mut sim = Sim::new();
    sim.shop().rollback_on = Some("5/5m".to_owned());
    sim.settle();
    sim.label("enforce");
    sim.settle();
    sim.wait(SignedDuration::from_secs(40));
    sim.see(USUAL[1], "unanswered", 4);
    sim.see(NEW, "unanswered", 50);
    sim.settle();
    assert_eq!(
        sim.live().len(),
        3,
        "four failures are not five, and what was new never worked"
    );
    sim.see(USUAL[1], "unanswered", 1);
    sim.settle();
    assert_eq!(
        sim.live(),
        ["shop/db-deployment"],
        "both ends of the edge are taken off"
    );
    let id = sim
        .status("shop/web-deployment")
        .rollback
        .clone()
        .unwrap()
        .id;
    assert!(sim.told("shop/web-deployment").contains(&"RolledBack"));
    for _ in 0..5 {
        sim.wait(SignedDuration::from_mins(30));
        sim.settle();
    }
    assert_eq!(sim.live(), ["shop/db-deployment"], "it is latched");
    sim.want("shop/web-deployment", |spec| {
        spec.acknowledged_rollback = Some(id)
    });
    sim.roll_out();
    assert_eq!(sim.live(), ["shop/db-deployment", "shop/web-deployment"]);
    sim.label("audit");
    sim.settle();
    assert!(sim.status("shop/api-deployment").rollback.is_none());
    sim.label("enforce");
    sim.roll_out();
    assert_eq!(sim.live(), ALL, "asked again");
}

#[test]
fn failures_do_not_count_without_ready_endpoints_or_long_after_the_apply() {
    let mut sim = Sim::new();
    sim.shop().rollback_on = Some("1/5m".to_owned());
    sim.settle();
    sim.label("enforce");
    sim.settle();
    sim.wait(SignedDuration::from_mins(11));
    sim.settle();
    sim.see(USUAL[1], "unanswered", 9);
    sim.settle();
    assert_eq!(sim.live().len(), 3);
}

#[test]
fn a_person_takes_a_policy_off_and_puts_it_back() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    sim.want("shop/api-deployment", |spec| spec.roll_back = Some(true));
    sim.settle();
    assert_eq!(sim.live(), ["shop/db-deployment", "shop/web-deployment"]);
    assert!(sim.condition("shop/api-deployment", Type::RolledBack).0);
    sim.want("shop/api-deployment", |spec| spec.roll_back = None);
    sim.roll_out();
    assert_eq!(sim.live(), ALL);
}

#[test]
fn a_controller_that_starts_anew_goes_on_where_the_last_one_stopped() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    sim.see(NEW, "unanswered", 1);
    sim.settle();
    sim.memory = Default::default();
    assert_eq!(sim.round(), Vec::<String>::new());
    // The database is lost: nothing that was learned is known.
    sim.records.clear();
    sim.see(USUAL[0], "established", 1);
    sim.settle();
    assert_eq!(sim.live(), ALL);
    let frozen = sim.status("shop/api-deployment").frozen.clone().unwrap();
    assert_eq!((frozen.ingress.len(), frozen.egress.len()), (1, 1));
}

#[test]
fn a_namespace_denies_all_else_once_everything_in_it_is_in_force() {
    let mut sim = Sim::new();
    sim.shop().default_deny = true;
    sim.settle();
    assert!(!sim.proposals.contains_key(&name("shop/default-deny")));
    sim.label("enforce");
    sim.roll_out();
    assert!(
        sim.live().contains(&"shop/default-deny".to_owned()),
        "{:?}",
        sim.live()
    );
    sim.shop().default_deny = false;
    sim.settle();
    assert_eq!(sim.live(), ALL);
}

/// Whether the policy that is in force allows nothing in either direction.
fn is_closed(sim: &Sim, policy: &str) -> bool {
    let spec = sim.policies[&name(policy)].policy.spec.clone();
    let spec = spec.unwrap_or_default();
    let rules = spec.ingress.map_or(0, |rules| rules.len());
    let rules = rules + spec.egress.map_or(0, |rules| rules.len());
    rules == 0 && spec.policy_types.is_some_and(|types| types.len() == 2)
}

#[test]
fn rejecting_the_only_edge_of_what_is_enforced_closes_it_until_that_is_taken_back() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    let db = "shop/db-deployment";
    let open = sim.policies[&name(db)].policy.spec.clone();
    sim.want(db, |spec| spec.rejected.push(USUAL[2].to_owned()));
    let written = sim.settle();
    assert!(written.contains(&format!("apply {db}")), "{written:?}");
    assert!(is_closed(&sim, db));
    assert!(
        !is_closed(&sim, "shop/api-deployment"),
        "each end decides for itself"
    );
    let status = sim.status(db);
    assert_eq!((status.counts.rules, status.counts.edges), (0, 0));
    assert!(status.proposal.is_some() && status.applied.is_some());
    sim.memory = Default::default();
    assert_eq!(sim.round(), Vec::<String>::new(), "a new controller");
    sim.want(db, |spec| spec.rejected.clear());
    sim.settle();
    assert_eq!(sim.policies[&name(db)].policy.spec, open);
}

#[test]
fn an_only_edge_that_was_rejected_before_it_could_be_frozen_is_denied() {
    let mut sim = Sim::new();
    sim.settle();
    let db = "shop/db-deployment";
    sim.want(db, |spec| spec.rejected.push(USUAL[2].to_owned()));
    sim.settle();
    assert!(sim.status(db).proposal.is_some(), "learning proposes it");
    sim.label("enforce");
    sim.roll_out();
    assert_eq!(sim.live(), ALL);
    assert!(is_closed(&sim, db));
}

#[test]
fn rejecting_what_was_never_seen_cuts_nobody_off() {
    let mut sim = Sim::new();
    let unused = "shop/Deployment/web -> shop/Deployment/db 9/TCP";
    sim.records.retain(|record| record.port != 5432);
    sim.see(USUAL[0], "established", 1);
    sim.settle();
    let db = "shop/db-deployment";
    sim.want(db, |spec| spec.rejected.push(unused.to_owned()));
    sim.settle();
    sim.label("enforce");
    sim.roll_out();
    assert_eq!(sim.live(), ["shop/api-deployment", "shop/web-deployment"]);
    assert!(sim.status(db).proposal.is_none());
}

#[test]
fn what_a_person_rejected_may_fail_without_a_rollback() {
    let mut sim = Sim::new();
    sim.shop().rollback_on = Some("5/5m".to_owned());
    sim.settle();
    sim.label("enforce");
    sim.settle();
    let web = "shop/web-deployment";
    sim.want(web, |spec| spec.rejected.push(USUAL[1].to_owned()));
    sim.settle();
    sim.wait(SignedDuration::from_secs(40));
    sim.see(USUAL[1], "unanswered", 50);
    sim.settle();
    assert_eq!(sim.live(), ALL, "neither end is taken off");
    sim.want(web, |spec| spec.rejected.clear());
    sim.settle();
    assert_eq!(sim.live(), ALL, "what failed meanwhile does not count");
    sim.wait(SignedDuration::from_secs(40));
    sim.see(USUAL[1], "unanswered", 5);
    sim.settle();
    assert_eq!(sim.live(), ["shop/db-deployment"]);
}
