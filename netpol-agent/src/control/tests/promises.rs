//! What holds whatever happens, in random order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use netpol_common::names::{ObjectName, WorkloadName};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::shown;
use super::sim::{Sim, name};
use crate::control::Live;
use crate::crd::Mode;
use crate::identity::{EdgeId, Peer};
use crate::policy::against::coverage::Coverage as Judge;
use crate::policy::evaluate::{Compiled, Reading, World};
use crate::policy::options::{Dns, RejectedEdge};
use crate::policy::{Cluster, Direction};

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Label(&'static str),
    OwnLabel(usize, &'static str),
    Force(bool),
    Pause(bool),
    Terminate(bool),
    RollbackOn(bool),
    See(usize, &'static str),
    Approve(usize, usize),
    Reject(usize, usize),
    Reset(usize),
    RollBack(usize, bool),
    Foreign(usize),
    NoForeign,
    Spoil(usize),
    Strip(usize),
    Delete(usize),
    Vanish(usize),
    ComeBack(usize),
    Replace(usize),
    Restart,
    Wait(i64),
}

const WORKLOADS: [&str; 3] = ["api", "db", "web"];
const MODES: [&str; 6] = ["", "off", "learn", "audit", "enforce", "nonsense"];

/// Every edge that may occur.
pub(super) fn universe() -> Vec<String> {
    let mut all = Vec::new();
    for client in [
        "shop/Deployment/web",
        "shop/Deployment/api",
        "other/Deployment/ui",
        "203.0.113.9",
    ] {
        for server in [
            "shop/Deployment/web",
            "shop/Deployment/api",
            "shop/Deployment/db",
        ] {
            if client != server {
                all.extend([5432, 8080].map(|port| format!("{client} -> {server} {port}/TCP")));
            }
        }
    }
    all
}

fn happening() -> impl Strategy<Value = Happening> {
    let workload = 0..WORKLOADS.len();
    let edge = 0..universe().len();
    let mode = prop::sample::select(&MODES[..]);
    let outcome = prop::sample::select(&["established", "unanswered"][..]);
    prop_oneof![
        4 => prop::sample::select(&MODES[..]).prop_map(Happening::Label),
        1 => (workload.clone(), mode).prop_map(|(w, mode)| Happening::OwnLabel(w, mode)),
        1 => any::<bool>().prop_map(Happening::Force),
        1 => any::<bool>().prop_map(Happening::Pause),
        1 => any::<bool>().prop_map(Happening::Terminate),
        1 => any::<bool>().prop_map(Happening::RollbackOn),
        5 => (edge.clone(), outcome).prop_map(|(edge, outcome)| Happening::See(edge, outcome)),
        2 => (workload.clone(), edge.clone()).prop_map(|(w, edge)| Happening::Approve(w, edge)),
        1 => (workload.clone(), edge).prop_map(|(w, edge)| Happening::Reject(w, edge)),
        1 => workload.clone().prop_map(Happening::Reset),
        1 => (workload.clone(), any::<bool>()).prop_map(|(w, off)| Happening::RollBack(w, off)),
        1 => workload.clone().prop_map(Happening::Foreign),
        1 => Just(Happening::NoForeign),
        1 => workload.clone().prop_map(Happening::Spoil),
        1 => workload.clone().prop_map(Happening::Strip),
        1 => workload.clone().prop_map(Happening::Delete),
        1 => workload.clone().prop_map(Happening::Vanish),
        2 => workload.clone().prop_map(Happening::ComeBack),
        1 => workload.prop_map(Happening::Replace),
        1 => Just(Happening::Restart),
        3 => (1_i64..200).prop_map(Happening::Wait),
    ]
}

fn own(workload: usize) -> ObjectName {
    name(&format!("shop/{}-deployment", WORKLOADS[workload]))
}

fn happen(sim: &mut Sim, happening: &Happening) {
    match happening {
        Happening::Label(mode) => sim.label(mode),
        Happening::OwnLabel(workload, mode) => {
            let workload = WorkloadName::new("shop", "Deployment", WORKLOADS[*workload]);
            sim.labels.insert(workload, (*mode).to_owned());
        }
        Happening::Force(force) => sim.shop().force = *force,
        Happening::Pause(pause) => sim.shop().pause = *pause,
        Happening::Terminate(terminating) => sim.shop().terminating = *terminating,
        Happening::RollbackOn(on) => sim.shop().rollback_on = on.then(|| "2/1m".to_owned()),
        Happening::See(edge, outcome) => sim.see(&universe()[*edge], outcome, 1),
        Happening::Approve(workload, edge) => decide_on(sim, *workload, *edge, true),
        Happening::Reject(workload, edge) => decide_on(sim, *workload, *edge, false),
        Happening::Reset(workload) => {
            if let Some(known) = sim.proposals.get_mut(&own(*workload)) {
                known.spec = None;
            }
        }
        Happening::RollBack(workload, off) => {
            if let Some(known) = sim.proposals.get_mut(&own(*workload)) {
                known.spec.get_or_insert_default().roll_back = Some(*off);
            }
        }
        Happening::Foreign(workload) => {
            let (own, app) = (own(*workload), WORKLOADS[*workload]);
            if !sim.policies.contains_key(&own) {
                sim.put_foreign(&own.name, app);
            }
        }
        Happening::NoForeign => sim.policies.retain(|_, live| live.is_ours()),
        Happening::Spoil(workload) => {
            if let Some(live) = sim
                .policies
                .get_mut(&own(*workload))
                .filter(|live| live.is_ours())
            {
                live.policy.spec.as_mut().unwrap().ingress = Some(vec![Default::default()]);
            }
        }
        Happening::Strip(workload) => {
            if let Some(live) = sim.policies.get_mut(&own(*workload)) {
                live.policy.metadata.owner_references = None;
            }
        }
        Happening::Delete(workload) => drop(sim.policies.remove(&own(*workload))),
        Happening::Vanish(workload) => sim.vanish(WORKLOADS[*workload]),
        Happening::ComeBack(workload) => sim.come_back(WORKLOADS[*workload]),
        Happening::Replace(workload) => sim.replace(WORKLOADS[*workload]),
        Happening::Restart => sim.memory = Default::default(),
        Happening::Wait(seconds) => sim.wait(SignedDuration::from_secs(*seconds)),
    }
}

fn decide_on(sim: &mut Sim, workload: usize, edge: usize, approve: bool) {
    let Some(known) = sim.proposals.get_mut(&own(workload)) else {
        return;
    };
    let spec = known.spec.get_or_insert_default();
    let edges = if approve {
        &mut spec.approved
    } else {
        &mut spec.rejected
    };
    edges.push(universe()[edge].clone());
}

fn foreign(sim: &Sim) -> BTreeMap<ObjectName, Live> {
    let theirs = sim.policies.iter().filter(|(_, live)| !live.is_ours());
    theirs
        .map(|(name, live)| (name.clone(), live.clone()))
        .collect()
}

/// Each policy of ours that is as it is to be allows what was frozen or approved, less what was rejected, and nothing
/// else that may occur. Tells how many there are.
fn check_exact(sim: &Sim) -> usize {
    let cluster = Cluster::of(&sim.index);
    let world = World::of(&sim.index);
    let is_absent = |edge: &EdgeId, direction: Direction| {
        let end = super::super::edges::end(edge, direction);
        matches!(end, Peer::Workload(name) if !cluster.workloads.contains_key(name))
    };
    let mut checked = 0;
    for (name, live) in sim.policies.iter().filter(|(_, live)| live.is_ours()) {
        let Some(known) = sim.proposals.get(name) else {
            continue;
        };
        let applied = known.status.applied.as_ref();
        let hash = live.policy.spec.as_ref().map(super::super::ours::hash);
        let proposed = known.status.proposal.as_ref();
        let is_current = applied.map(|applied| &applied.hash) == hash.as_ref()
            && proposed.map(|proposed| &proposed.hash) == hash.as_ref();
        let gone = known.status.gone_since.is_some();
        if !is_current || gone || sim.namespaces["shop"].terminating {
            continue;
        }
        checked += 1;
        let compiled = Compiled::new(
            &world,
            std::slice::from_ref(&live.policy),
            Reading::default(),
        );
        let judge = Judge::new(&cluster, &world, &compiled);
        let reference = known.status.workload_ref.clone().unwrap();
        let workload = WorkloadName::new("shop", reference.kind, reference.name);
        let parse = |text: &String| text.parse::<RejectedEdge>().unwrap().0;
        let frozen = known
            .status
            .frozen
            .as_ref()
            .expect("enforced edges are frozen");
        let spec = known.spec.clone().unwrap_or_default();
        let mut allowed: BTreeSet<EdgeId> = [&frozen.ingress, &frozen.egress, &spec.approved]
            .into_iter()
            .flatten()
            .map(parse)
            .collect();
        let rejected: BTreeSet<EdgeId> = spec.rejected.iter().map(parse).collect();
        allowed.retain(|edge| !rejected.contains(edge));
        for text in universe() {
            let edge = text.parse::<RejectedEdge>().unwrap().0;
            if Direction::ALL.iter().any(|it| is_absent(&edge, *it)) {
                continue;
            }
            for direction in Direction::ALL {
                let end = super::super::edges::end(&edge, direction);
                if *end != Peer::Workload(workload.clone()) {
                    continue;
                }
                let allows = judge.judge(&workload, direction, &edge).allowed;
                assert_eq!(
                    allows,
                    allowed.contains(&edge),
                    "{name}: {direction} {text}"
                );
            }
        }
    }
    checked
}

/// Nothing of ours is in force where it is not asked for.
fn check_modes(sim: &Sim) {
    if sim.namespaces["shop"].terminating {
        return;
    }
    for (name, known) in &sim.proposals {
        let live = sim.policies.get(name);
        let ours = live.is_some_and(|live| live.is_of(&known.uid));
        let enforced = known.status.mode == Some(Mode::Enforce);
        assert!(
            enforced || !ours,
            "{name} is in mode {:?}",
            known.status.mode
        );
        assert!(known.status.applied.is_none() || enforced, "{name}");
        let label = sim.namespaces["shop"].mode.as_deref();
        let left = !matches!(label, Some("enforce" | "nonsense"));
        let gone = known.status.gone_since.is_some();
        assert!(
            !(ours && gone && left),
            "{name} is gone, and the label is {label:?}"
        );
        let taken_off = known
            .spec
            .as_ref()
            .is_some_and(|spec| spec.roll_back == Some(true));
        assert!(
            !(ours && (taken_off || known.status.rollback.is_some())),
            "{name}"
        );
    }
}

#[test]
fn nothing_of_others_is_touched_nothing_is_widened_and_all_comes_to_rest() {
    let checked = AtomicUsize::new(0);
    let config = ProptestConfig {
        cases: 192,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let happenings = prop::collection::vec(happening(), 1..24);
    let outcome = TestRunner::new(config).run(&happenings, |happenings| {
        let policies = live_through(&happenings)?;
        checked.fetch_add(policies, Ordering::Relaxed);
        Ok(())
    });
    outcome.unwrap();
    let checked = checked.into_inner();
    assert!(
        checked > 100,
        "only {checked} policies were in force at any time"
    );
}

/// Lets all of that happen; tells how many policies were looked at.
fn live_through(happenings: &[Happening]) -> Result<usize, TestCaseError> {
    let mut sim = Sim::new();
    sim.settings.options.dns = Dns::Seen;
    sim.shop().options = Some("{\"dns\": \"seen\"}".to_owned());
    sim.settle();
    let mut checked = 0;
    for happening in happenings {
        happen(&mut sim, happening);
        let theirs = foreign(&sim);
        let written = sim.settle();
        prop_assert_eq!(&foreign(&sim), &theirs);
        if sim.namespaces["shop"].terminating {
            let inside = written.iter().any(|write| write.contains(" shop/"));
            prop_assert!(!inside, "{:?}", written);
        }
        checked += check_exact(&sim);
        check_modes(&sim);
        if !sim.namespaces["shop"].terminating {
            shown::check(&mut sim);
        }
    }
    Ok(checked)
}
