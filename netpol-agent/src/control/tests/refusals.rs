//! What is not put into force, and why.

use jiff::SignedDuration;
use netpol_common::names::WorkloadName;

use super::sim::{NEW, Sim, USUAL, name};
use crate::crd::{ConditionType as Type, Mode};
use crate::observe::Losses;

/// Something that happens to a cluster.
type Spoil<'a> = &'a dyn Fn(&mut Sim);

/// Why a proposal of an enforced namespace is not in force.
fn refused(sim: &mut Sim, proposal: &str) -> String {
    sim.settle();
    sim.label("enforce");
    sim.roll_out();
    let (applied, reason) = sim.condition(proposal, Type::Applied);
    assert!(!applied, "{reason}");
    assert!(!sim.live().contains(&proposal.to_owned()));
    reason
}

/// Whether it is in force once `netpol.io/force` is set.
fn forced(sim: &mut Sim, proposal: &str) -> bool {
    sim.shop().force = true;
    sim.roll_out();
    sim.live().contains(&proposal.to_owned())
}

#[test]
fn what_is_incomplete_waits_unless_it_is_forced() {
    let lossy = |sim: &mut Sim| {
        let lost = Losses {
            edges_lost: 2,
            ..Losses::default()
        };
        sim.losses.push((name("shop/web-1-a"), lost));
    };
    let gap = |sim: &mut Sim| {
        let gap = Losses {
            observation_gap: true,
            ..Losses::default()
        };
        sim.losses.push((name("shop/web-1-a"), gap));
    };
    let silent = |sim: &mut Sim| sim.silent = ["n1".to_owned()].into();
    let young = |sim: &mut Sim| {
        sim.records
            .retain(|record| record.time.unwrap() > sim.now - SignedDuration::from_hours(3))
    };
    let cases: [(Spoil<'_>, Option<Type>); 4] = [
        (&lossy, Some(Type::LostEvents)),
        (&gap, Some(Type::ObservationGap)),
        (&silent, Some(Type::Unobserved)),
        (&young, None),
    ];
    for (spoil, condition) in cases {
        let mut sim = Sim::new();
        spoil(&mut sim);
        assert_eq!(refused(&mut sim, "shop/web-deployment"), "Incomplete");
        assert!(!sim.condition("shop/web-deployment", Type::Complete).0);
        if let Some(condition) = condition {
            assert!(
                sim.condition("shop/web-deployment", condition).0,
                "{condition:?}"
            );
        }
        assert!(forced(&mut sim, "shop/web-deployment"));
    }
}

#[test]
fn what_a_person_rejected_does_not_keep_a_workload_incomplete() {
    let mut sim = Sim::new();
    let odd: Vec<String> = (1..=8)
        .map(|port| format!("shop/Deployment/web -> shop/Deployment/db {port}/TCP"))
        .collect();
    odd.iter().for_each(|edge| sim.see(edge, "established", 1));
    sim.settle();
    let complete = |sim: &Sim, proposal| sim.condition(proposal, Type::Complete).0;
    let (web, db) = ("shop/web-deployment", "shop/db-deployment");
    assert!(!complete(&sim, web) && !complete(&sim, db));
    sim.want(web, |spec| spec.rejected.extend(odd));
    sim.settle();
    assert!(complete(&sim, web), "{:#?}", sim.status(web).coverage);
    assert!(!complete(&sim, db), "each end has its own proposal");
}

#[test]
fn what_was_lost_long_ago_is_forgiven() {
    let mut sim = Sim::new();
    let lost = Losses {
        edges_lost: 2,
        ..Losses::default()
    };
    sim.losses.push((name("shop/web-1-a"), lost));
    sim.settle();
    assert_eq!(
        sim.status("shop/web-deployment")
            .observation
            .clone()
            .unwrap()
            .lost_edges,
        2
    );
    for _ in 0..26 {
        sim.wait(SignedDuration::from_hours(1));
        USUAL
            .iter()
            .for_each(|edge| sim.see(edge, "established", 1));
    }
    sim.settle();
    assert!(!sim.condition("shop/web-deployment", Type::LostEvents).0);
    assert!(sim.condition("shop/web-deployment", Type::Complete).0);
}

#[test]
fn a_policy_of_somebody_else_is_never_touched() {
    let mut sim = Sim::new();
    sim.put_foreign("web-deployment", "web");
    let theirs = sim.policies[&name("shop/web-deployment")].clone();
    sim.settle();
    sim.label("enforce");
    sim.roll_out();
    assert_eq!(
        sim.condition("shop/web-deployment", Type::Applied),
        (false, "NameConflict".to_owned())
    );
    assert!(sim.condition("shop/web-deployment", Type::NameConflict).0);
    sim.shop().force = true;
    sim.roll_out();
    sim.label("off");
    sim.settle();
    assert_eq!(sim.policies[&name("shop/web-deployment")], theirs);
}

#[test]
fn ours_that_lost_its_owner_or_our_fields_is_somebody_elses() {
    for strip_owner in [true, false] {
        let mut sim = Sim::in_mode("enforce");
        sim.roll_out();
        let live = sim.policies.get_mut(&name("shop/web-deployment")).unwrap();
        match strip_owner {
            true => live.policy.metadata.owner_references = None,
            false => live.applied_by_us = false,
        }
        let theirs = live.clone();
        sim.label("off");
        sim.settle();
        assert_eq!(sim.live(), ["shop/web-deployment"]);
        assert_eq!(sim.policies[&name("shop/web-deployment")], theirs);
    }
}

#[test]
fn what_nothing_selects_alone_is_never_enforced() {
    let mut sim = Sim::new();
    let twin = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: twin, namespace: shop}, spec: {selector: \
                {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: []}}}}";
    for object in crate::inventory::parse("a twin", twin).unwrap().objects {
        sim.index.apply(object, sim.now);
    }
    assert_eq!(refused(&mut sim, "shop/web-deployment"), "Unselectable");
    assert!(sim.condition("shop/web-deployment", Type::Unselectable).0);
    assert!(!forced(&mut sim, "shop/web-deployment"));
}

#[test]
fn edges_that_an_object_cannot_hold_are_not_frozen_and_never_enforced() {
    let mut sim = Sim::new();
    for number in 0..4_100 {
        let edge = format!(
            "shop/Deployment/web -> 203.{}.{}.1 443/TCP",
            number / 250,
            number % 250
        );
        sim.see(&edge, "established", 1);
    }
    assert_eq!(refused(&mut sim, "shop/web-deployment"), "TooLarge");
    assert!(sim.status("shop/web-deployment").frozen.is_none());
    assert!(!forced(&mut sim, "shop/web-deployment"));
}

#[test]
fn many_external_addresses_wait_for_a_person_unless_forced() {
    let mut sim = Sim::new();
    for hour in 0..3 {
        for number in 0..65 {
            sim.see(
                &format!("shop/Deployment/web -> 203.0.113.{number} {}/TCP", 443),
                "established",
                hour + 1,
            );
        }
    }
    assert_eq!(refused(&mut sim, "shop/web-deployment"), "NeedsWidening");
    sim.want("shop/web-deployment", |spec| {
        spec.options =
            serde_json::from_str(r#"{"cidrGroups": {"partner": ["203.0.113.0/24"]}}"#).ok();
    });
    sim.roll_out();
    assert!(sim.live().contains(&"shop/web-deployment".to_owned()));
}

#[test]
fn what_the_api_server_calls_waits_until_it_was_seen_to() {
    let mut sim = Sim::new();
    let service = "{apiVersion: v1, kind: Service, metadata: {name: hook, namespace: shop}, spec: {selector: {app: web}, \
                   clusterIP: 10.96.0.9, ports: [{port: 443, targetPort: 8443}]}}\n---\n\
                   {apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}, spec: {clusterIP: 10.96.0.1, \
                   ports: [{port: 443, targetPort: 6443}]}}\n---\n\
                   {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: kubernetes, namespace: default, labels: \
                   {kubernetes.io/service-name: kubernetes}}, addressType: IPv4, endpoints: [{addresses: [192.0.2.1]}], ports: \
                   [{name: '', port: 6443, protocol: TCP}]}";
    for object in crate::inventory::parse("a service", service)
        .unwrap()
        .objects
    {
        sim.index
            .apply(object, sim.now - SignedDuration::from_hours(48));
    }
    sim.called.insert(name("shop/hook"));
    assert_eq!(refused(&mut sim, "shop/web-deployment"), "Protected");
    assert!(
        sim.live().contains(&"shop/api-deployment".to_owned()),
        "others go on"
    );
    sim.see(
        "192.0.2.1 -> shop/Deployment/web 8443/TCP",
        "established",
        1,
    );
    sim.roll_out();
    assert_eq!(
        sim.condition("shop/web-deployment", Type::Applied).1,
        "Applied"
    );
}

#[test]
fn what_runs_in_kube_system_or_is_ours_waits_for_force() {
    let mut sim = Sim::new();
    sim.settings.own_namespace = "shop".to_owned();
    sim.settle();
    let applied = sim.status("shop/web-deployment").condition(Type::Applied);
    assert_eq!(
        applied.unwrap().message,
        "the mode is learn; enforcing takes netpol.io/force=true: it is a part of netpol",
        "it is told before anybody asks for it"
    );
    assert_eq!(refused(&mut sim, "shop/web-deployment"), "Protected");
    assert!(forced(&mut sim, "shop/web-deployment"));
}

#[test]
fn what_people_wrote_and_nobody_can_read_is_told_and_holds_enforcing() {
    let cases: [(Spoil<'_>, &str); 4] = [
        (
            &|sim| {
                sim.want("shop/web-deployment", |spec| {
                    spec.approved.push("x -> y".to_owned())
                })
            },
            "spec.approved",
        ),
        (
            &|sim| {
                sim.want("shop/web-deployment", |spec| {
                    spec.options = serde_json::from_str(r#"{"cni": "x"}"#).ok()
                })
            },
            "cni",
        ),
        (
            &|sim| sim.shop().rollback_on = Some("often".to_owned()),
            "rollback-on",
        ),
        (
            &|sim| sim.shop().options = Some("{\"dnss\": 1}".to_owned()),
            "netpol.io/options",
        ),
    ];
    for (write, told) in cases {
        let mut sim = Sim::new();
        sim.settle();
        write(&mut sim);
        assert_eq!(refused(&mut sim, "shop/web-deployment"), "Unreadable");
        let status = sim.status("shop/web-deployment");
        let message = &status.condition(Type::Applied).unwrap().message;
        assert!(message.contains(told), "{message}");
    }
}

#[test]
fn a_namespace_that_is_being_deleted_gets_no_writes() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    sim.shop().terminating = true;
    sim.label("off");
    sim.see(NEW, "established", 1);
    assert_eq!(sim.settle(), Vec::<String>::new());
}

#[test]
fn a_paused_namespace_is_left_alone_but_for_taking_ours_away() {
    let mut sim = Sim::new();
    sim.shop().pause = true;
    assert_eq!(refused(&mut sim, "shop/web-deployment"), "Paused");
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    sim.shop().pause = true;
    sim.want("shop/web-deployment", |spec| {
        spec.approved.push(NEW.to_owned())
    });
    let written = sim.settle();
    assert!(
        !written.iter().any(|write| write.starts_with("apply")),
        "{written:?}"
    );
    sim.label("learn");
    sim.settle();
    assert_eq!(sim.live(), Vec::<String>::new());
}

#[test]
fn a_workload_that_comes_later_learns_alone_and_its_own_label_ends_that() {
    let mut sim = Sim::in_mode("enforce");
    sim.roll_out();
    let late = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: late, namespace: shop}, spec: {selector: \
                {matchLabels: {app: late}}, template: {metadata: {labels: {app: late}}, spec: {containers: []}}}}";
    for object in crate::inventory::parse("a late one", late).unwrap().objects {
        sim.index.apply(object, sim.now);
    }
    sim.see(
        "shop/Deployment/late -> shop/Deployment/db 5432/TCP",
        "established",
        1,
    );
    sim.roll_out();
    let status = sim.status("shop/late-deployment");
    assert_eq!(
        (status.mode, status.learning_alone),
        (Some(Mode::Learn), true)
    );
    assert!(status.proposal.is_some());
    let workload = WorkloadName::new("shop", "Deployment", "late");
    sim.labels.insert(workload, "audit".to_owned());
    sim.settle();
    let status = sim.status("shop/late-deployment");
    assert_eq!(
        (status.mode, status.learning_alone),
        (Some(Mode::Enforce), false)
    );
    assert_eq!(status.frozen.clone().unwrap().egress.len(), 1);
}

#[test]
fn an_unknown_label_keeps_the_mode_and_an_own_label_only_tightens() {
    let mut sim = Sim::in_mode("audit");
    sim.label("Enforce!");
    assert_eq!(sim.settle(), Vec::<String>::new());
    sim.label("learn");
    sim.labels.insert(
        WorkloadName::new("shop", "Deployment", "web"),
        "enforce".to_owned(),
    );
    sim.labels.insert(
        WorkloadName::new("shop", "Deployment", "api"),
        "off".to_owned(),
    );
    sim.roll_out();
    assert_eq!(sim.live(), ["shop/web-deployment"]);
    assert_eq!(sim.status("shop/api-deployment").mode, Some(Mode::Learn));
}

#[test]
fn what_takes_netpol_away_gets_no_proposal_and_another_job_does() {
    let mut sim = Sim::new();
    sim.settle();
    let before = sim.proposals.len();
    for (namespace, job) in [
        ("netpol-system", "netpol-uninstall"),
        ("netpol-system", "other"),
        ("shop", "netpol-uninstall"),
    ] {
        let labels = format!("{{app.kubernetes.io/name: {job}}}");
        let text = format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {job}, namespace: {namespace}, uid: j}}, spec: {{template: \
             {{metadata: {{labels: {labels}}}, spec: {{containers: []}}}}}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: {job}-x, namespace: {namespace}, uid: p-{namespace}-{job}, labels: \
             {labels}, ownerReferences: [{{apiVersion: batch/v1, kind: Job, name: {job}, uid: j, controller: true}}]}}, spec: \
             {{nodeName: n1, containers: []}}, status: {{phase: Running}}}}"
        );
        for object in crate::inventory::parse("a Job", &text).unwrap().objects {
            sim.index.apply(object, sim.now);
        }
    }
    sim.settle();
    assert_eq!(sim.proposals.len(), before + 2);
    for other in ["netpol-system/other-job", "shop/netpol-uninstall-job"] {
        assert!(sim.status(other).workload_ref.is_some(), "{other}");
    }
}
