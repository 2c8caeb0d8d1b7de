//! What is shown of proposals to who decides nothing is what they say.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::promises::universe;
use super::sim::{NEW, Sim, name};
use crate::control::{Basis, Facts, Overrides};
use crate::crd::{Mode, OptionsSpec};
use crate::policy::emit::kubernetes;
use crate::policy::options::{Peers, RejectedEdge};
use crate::policy::{Finding, Proposal, synthesise_for};

/// What is shown to somebody who knows what was seen, what people wrote and what the controller answered.
fn shown(sim: &mut Sim, over: &Overrides) -> (Proposal, usize) {
    let graph = sim.graph();
    let facts = Facts {
        graph: &graph,
        index: &sim.index,
        observers: &BTreeMap::new(),
        losses: &[],
        namespaces: &sim.namespaces,
        labels: &BTreeMap::new(),
        proposals: &sim.proposals,
        policies: &BTreeMap::new(),
        called: &BTreeSet::new(),
        now: sim.now,
    };
    let basis = Basis::of(&facts, &sim.settings, over);
    let mut made = synthesise_for(&basis.graph, &basis.cluster, &basis.options);
    basis.fit(&mut made);
    basis.name(&mut made.policies);
    let unlike = basis.unlike(&made.policies).len();
    (made, unlike)
}

/// What is shown is what the proposals say, wherever they are answered.
pub(super) fn check(sim: &mut Sim) {
    let (made, unlike) = shown(sim, &Overrides::default());
    assert_eq!(unlike, 0);
    let made = made.policies.iter().map(|policy| {
        let place = format!("{}/{}", policy.workload.namespace, policy.name);
        (place, kubernetes::object(policy).spec)
    });
    let made: BTreeMap<String, _> = made.collect();
    for (name, known) in &sim.proposals {
        // Of a workload that is gone, a proposal stays for a while, and nothing is shown.
        if known.status.gone_since.is_some() {
            continue;
        }
        let told = known.status.proposal.as_ref();
        let told = told.map(|told| &told.spec);
        let made = made.get(&name.to_string()).and_then(Option::as_ref);
        assert_eq!(made, told, "{name} in mode {:?}", known.status.mode);
    }
    let told = |place: &String| sim.proposals.contains_key(&name(place));
    assert!(made.keys().all(told), "{made:#?}");
}

#[test]
fn in_every_mode_what_is_shown_is_what_is_proposed() {
    for mode in ["", "off", "learn", "audit", "enforce"] {
        let mut sim = Sim::in_mode(mode);
        check(&mut sim);
        sim.see(NEW, "established", 1);
        sim.see("203.0.113.9 -> shop/Deployment/web 8080/TCP", "refused", 1);
        sim.settle();
        check(&mut sim);
        let web = "shop/web-deployment";
        sim.want(web, |spec| {
            spec.approved = vec![NEW.to_owned()];
            spec.rejected = vec!["shop/Deployment/web -> shop/Deployment/api 8080/TCP".to_owned()];
            spec.options = serde_json::from_value(json!({"peers": "namespace"})).unwrap();
        });
        sim.shop().default_deny = true;
        sim.settle();
        check(&mut sim);
    }
}

#[test]
fn what_is_shown_is_what_is_proposed_when_a_peer_is_gone_and_when_it_comes_back() {
    let mut sim = Sim::in_mode("learn");
    let web = name("shop/web-deployment");
    let before = sim.proposals[&web].status.proposal.clone();
    sim.vanish("api");
    sim.settle();
    let status = &sim.proposals[&web].status;
    assert!(status.proposal.is_some() && status.proposal != before);
    check(&mut sim);
    sim.come_back("api");
    sim.settle();
    assert_eq!(sim.proposals[&web].status.proposal, before);
    check(&mut sim);
}

#[test]
fn what_makes_no_rule_is_told_whatever_people_decided() {
    let mut sim = Sim::in_mode("learn");
    sim.see(
        "shop/Deployment/web -> shop/Deployment/api 9999/TCP",
        "unknown",
        1,
    );
    sim.settle();
    let told = |sim: &mut Sim| {
        let (made, _) = shown(sim, &Overrides::default());
        let mut told = made.findings.into_iter();
        told.find(|finding| matches!(finding, Finding::UnknownOutcome { .. }))
    };
    let before = told(&mut sim);
    assert!(before.is_some());
    sim.want("shop/web-deployment", |spec| {
        spec.approved = vec![NEW.to_owned()]
    });
    sim.settle();
    assert_eq!(told(&mut sim), before);
    check(&mut sim);
    sim.label("audit");
    sim.settle();
    assert_eq!(told(&mut sim), before);
}

#[test]
fn who_is_not_frozen_learns_from_what_others_were_denied() {
    let mut sim = Sim::in_mode("audit");
    let late = "other/Deployment/ui -> shop/Deployment/api 8080/TCP";
    sim.see_from("server", late);
    sim.see_from(
        "client",
        "shop/Deployment/web -> other/Deployment/ui 9000/TCP",
    );
    sim.settle();
    check(&mut sim);
    let (made, _) = shown(&mut sim, &Overrides::default());
    let ui = made
        .policies
        .iter()
        .find(|policy| policy.workload.name == "ui")
        .unwrap();
    assert_eq!((ui.ingress.len(), ui.egress.len()), (1, 1), "{ui:#?}");
    let strange = |finding: &&Finding| matches!(finding, Finding::OtherEndOnly { .. });
    assert_eq!(made.findings.iter().find(strange), None);
}

#[test]
fn what_somebody_asks_for_comes_before_what_the_cluster_says() {
    let mut sim = Sim::in_mode("audit");
    sim.want("shop/web-deployment", |spec| {
        spec.options = serde_json::from_value(json!({"peers": "workload"})).unwrap();
    });
    sim.settle();
    let rejected: RejectedEdge = "shop/Deployment/web -> shop/Deployment/api 8080/TCP"
        .parse()
        .unwrap();
    let over = Overrides {
        options: OptionsSpec {
            peers: Some(Peers::Namespace),
            ..OptionsSpec::default()
        },
        rejected: [rejected.0].into(),
        default_deny: true,
    };
    let (made, unlike) = shown(&mut sim, &over);
    assert_eq!(unlike, 0, "nobody said that it would be the same");
    let of = |name: &str| {
        made.policies
            .iter()
            .find(|policy| policy.workload.name == name)
            .unwrap()
    };
    let [web, api] = ["web", "api"].map(of);
    assert_eq!((web.ingress.len(), web.egress.len()), (1, 0), "{web:#?}");
    assert_eq!((api.ingress.len(), api.egress.len()), (0, 1), "{api:#?}");
    let text = format!("{:?}", kubernetes::object(web).spec);
    assert!(!text.contains("\"ui\""), "a namespace as a whole: {text}");
    assert!(made.policies.iter().any(|policy| policy.is_of_namespace()));
}

const WHAT: [&str; 8] = [
    "client", "server", "both", "approve", "reject", "audit", "learn", "off",
];

/// Something that is seen or decided.
type Step = (usize, usize, &'static str);

/// Whoever saw what, and whatever people decided: one view tells of an edge, or both do.
#[test]
fn whatever_is_seen_and_decided_what_is_shown_is_what_is_proposed() {
    let edge = 0..universe().len();
    let step = (edge, 0_usize..3, prop::sample::select(&WHAT[..]));
    let config = ProptestConfig {
        cases: 48,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec(step, 1..12);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        live_through(&steps);
        Ok(())
    });
    outcome.unwrap();
}

fn live_through(steps: &[Step]) {
    let mut sim = Sim::in_mode("learn");
    for (edge, workload, what) in steps {
        let edge = universe()[*edge].clone();
        let proposal = [
            "shop/api-deployment",
            "shop/db-deployment",
            "other/ui-deployment",
        ][*workload];
        match *what {
            "client" | "server" => sim.see_from(what, &edge),
            "both" => sim.see(&edge, "established", 1),
            "approve" if sim.proposals.contains_key(&name(proposal)) => {
                sim.want(proposal, |spec| spec.approved.push(edge));
            }
            "reject" if sim.proposals.contains_key(&name(proposal)) => {
                sim.want(proposal, |spec| spec.rejected.push(edge));
            }
            mode if Mode::of(mode).is_some() => sim.label(mode),
            _ => {}
        }
        sim.settle();
        check(&mut sim);
    }
}
