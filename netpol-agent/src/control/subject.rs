//! The workloads that proposals are about, with what people and the last answer say of each.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::{ObjectName, WorkloadName};

use super::basis::Overrides;
use super::complete::Knowledge;
use super::edges::{self, Sides};
use super::facts::{Facts, Namespace, Proposal, Settings};
use super::mode::{self, Asked, Chosen, Edges, Label, Transition};
use super::rollback::Trigger;
use crate::crd::{Frozen, LearnedPolicySpec, LearnedPolicyStatus, Mode, OptionsSpec};
use crate::identity::EdgeId;
use crate::policy::model::NAMESPACE;
use crate::policy::options::RejectedEdge;
use crate::policy::{Cluster, Dns, Options, Policy, other_name, policy_names};

/// A workload, and all that is known and wanted of its policy.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) workload: WorkloadName,
    /// The proposal's name, and the NetworkPolicy's.
    pub(super) name: ObjectName,
    pub(super) known: Option<&'a Proposal>,
    pub(super) spec: LearnedPolicySpec,
    pub(super) namespace: Namespace,
    pub(super) namespace_mode: Mode,
    pub(super) trigger: Option<Trigger>,
    pub(super) options: Options,
    pub(super) approved: BTreeSet<EdgeId>,
    pub(super) rejected: BTreeSet<EdgeId>,
    /// What people wrote that cannot be read.
    pub(super) wrong: Vec<String>,
    pub(super) knowledge: Knowledge,
    pub(super) chosen: Chosen,
    pub(super) way: Transition,
    /// What was learned, unless it is [plain](Self::is_plain).
    pub(super) learned: Sides,
    pub(super) frozen: Option<Frozen>,
    /// Whether the edges are too many to be frozen.
    pub(super) too_many: bool,
    /// The edges that the proposal rests on and whose other end is there, unless it is [plain](Self::is_plain).
    pub(super) rests_on: Sides,
    /// The edges that it would rest on if nobody had rejected them, unless it is [plain](Self::is_plain). A rejection of
    /// what was never seen is not among them: it would cut off a workload without edges.
    pub(super) denied: Sides,
    /// How many edges the proposal rests on.
    pub(super) edges: usize,
    pub(super) absent: usize,
    pub(super) policy: Option<Policy>,
    /// Why there is no policy although there are edges.
    pub(super) withheld: Option<String>,
    pub(super) needs_widening: Option<String>,
}

/// The names of proposals by workload: where there is one already, its own; else that of the workload's policy.
pub(super) fn names(facts: &Facts<'_>, cluster: &Cluster) -> BTreeMap<WorkloadName, ObjectName> {
    let mut by_workload: BTreeMap<WorkloadName, ObjectName> = BTreeMap::new();
    for (name, known) in facts.proposals {
        if let Some(own) = &known.status.workload_ref {
            let workload = WorkloadName::new(&name.namespace, &own.kind, &own.name);
            by_workload.entry(workload).or_insert_with(|| name.clone());
        }
    }
    let mut taken: BTreeSet<ObjectName> = by_workload.values().cloned().collect();
    let own = cluster.workloads.iter();
    let own = own.filter(|(_, workload)| !workload.host_network);
    let plain = policy_names(own.map(|(name, _)| name));
    for (workload, name) in plain {
        if by_workload.contains_key(workload) {
            continue;
        }
        let mut name = ObjectName::new(&workload.namespace, name);
        if taken.contains(&name) {
            name.name = other_name(workload);
        }
        taken.insert(name.clone());
        by_workload.insert(workload.clone(), name);
    }
    by_workload
}

impl<'a> Subject<'a> {
    /// A workload with what people say of it, before anything was learned.
    pub(super) fn new(
        workload: WorkloadName,
        name: ObjectName,
        facts: &Facts<'a>,
        settings: &Settings,
    ) -> Self {
        let known = facts.proposals.get(&name);
        let spec = known
            .and_then(|known| known.spec.clone())
            .unwrap_or_default();
        let namespace = facts.namespace(&name.namespace);
        let label = Label::of(namespace.mode.as_deref());
        let namespace_mode = label.mode(facts.last_mode(&name.namespace));
        let (approved, mut wrong) = edges::parse("approved", &spec.approved);
        let (rejected, more) = edges::parse("rejected", &spec.rejected);
        wrong.extend(more);
        let (options, more) = options(&spec, &namespace, settings);
        wrong.extend(more);
        let trigger = namespace.rollback_on.as_deref().map(str::parse::<Trigger>);
        let trigger = trigger.transpose().unwrap_or_else(|error| {
            wrong.push(error.to_string());
            None
        });
        let learn = Chosen {
            mode: Mode::Learn,
            alone: false,
        };
        Self {
            workload,
            known,
            namespace_mode,
            trigger,
            options,
            approved,
            rejected,
            wrong,
            knowledge: Knowledge::default(),
            chosen: learn,
            way: mode::transition(None, Mode::Learn),
            learned: Sides::default(),
            frozen: None,
            too_many: false,
            rests_on: Sides::default(),
            denied: Sides::default(),
            edges: 0,
            absent: 0,
            policy: None,
            withheld: None,
            needs_widening: None,
            name,
            spec,
            namespace,
        }
    }

    /// Whether it is a whole namespace, of which all else is denied.
    pub(super) fn is_namespace(&self) -> bool {
        self.workload.kind == NAMESPACE
    }

    /// Whether its proposal is what the engine makes of what was learned, and nothing else: most are, and take no memory
    /// for sets of edges.
    pub(super) fn is_plain(&self) -> bool {
        self.way.edges == Edges::Live
            && self.approved.is_empty()
            && self.withheld.is_none()
            && !self.is_namespace()
    }

    /// What was answered last.
    pub(super) fn before(&self) -> LearnedPolicyStatus {
        self.known
            .map(|known| known.status.clone())
            .unwrap_or_default()
    }

    /// The uid of the proposal; empty where it is not there yet.
    pub(super) fn uid(&self) -> &str {
        self.known.map_or("", |known| known.uid.as_str())
    }

    /// Chooses its mode.
    pub(super) fn choose(&mut self, label: Option<&String>) {
        let before = self.before();
        let own = match Label::of(label.map(String::as_str)) {
            Label::Known(mode) => Some(mode),
            Label::Unknown => before.mode.filter(|_| !before.learning_alone),
            Label::Absent => None,
        };
        self.chosen = mode::choose(Asked {
            namespace: Some(self.namespace_mode),
            own,
            last: before.mode,
            alone: before.learning_alone,
            complete: self.knowledge.complete(),
        });
        if self.is_namespace() {
            let mode = match self.namespace.default_deny {
                true => self.namespace_mode,
                false => Mode::Off,
            };
            self.chosen = Chosen { mode, alone: false };
        }
        self.way = mode::transition(before.mode, self.chosen.mode);
    }

    /// Takes the mode that was told last, for who does not know what the leader chooses it by. What nobody told of yet
    /// learns, unless its namespace is off.
    pub(super) fn as_told(&mut self) {
        if self.is_namespace() {
            return;
        }
        let before = self.before();
        let new = self.namespace_mode.min(Mode::Learn);
        let mode = before.mode.unwrap_or(new);
        let alone = before.learning_alone;
        self.chosen = Chosen { mode, alone };
        self.way = mode::transition(before.mode, mode);
    }

    /// Takes in what somebody asks for above all that stands in the cluster.
    pub(super) fn overrule(&mut self, over: &Overrides) {
        match over.options.over(&self.options) {
            Ok(all) => self.options = all,
            Err(error) => self.wrong.push(error.to_string()),
        }
        if let Some(dns) = over.options.dns {
            let own = self.spec.options.get_or_insert_default();
            own.dns = Some(dns);
        }
        self.rejected.extend(over.rejected.iter().cloned());
    }

    /// Settles what the proposal rests on, given what was learned, and what would have been if nobody had rejected it.
    pub(super) fn settle(
        &mut self,
        (learned, mut denied): (Sides, Sides),
        facts: &Facts<'_>,
        cluster: &Cluster,
    ) {
        self.learned = learned;
        if self.way.edges != Edges::Live && !self.is_namespace() {
            let kept = self
                .before()
                .frozen
                .filter(|_| self.way.edges == Edges::Keep);
            self.frozen = kept.or_else(|| edges::freeze(&self.learned, facts.now));
            self.too_many = self.frozen.is_none();
        }
        let mut all = match &self.frozen {
            Some(frozen) => edges::thaw(frozen),
            None => self.learned.clone(),
        };
        let approved = edges::sides_of(&self.approved, &self.workload);
        for ((side, approved), denied) in all.iter_mut().zip(approved).zip(&mut denied) {
            side.extend(approved);
            denied.extend(side.intersection(&self.rejected).cloned());
            side.retain(|edge| !self.rejected.contains(edge));
        }
        if self.way.proposes {
            self.denied = denied;
            self.edges = all.iter().map(BTreeSet::len).sum();
            self.absent = edges::drop_absent(&mut all, cluster);
            self.rests_on = all;
        }
    }

    /// The options that its policy is written by.
    pub(super) fn written(&self) -> Options {
        let mut options = self.options.clone();
        options.reject = self.rejected.iter().cloned().map(RejectedEdge).collect();
        if self.chosen.mode == Mode::Enforce && !self.says_dns() {
            options.dns = Dns::Always;
        }
        options
    }

    fn says_dns(&self) -> bool {
        let own = self.spec.options.as_ref().and_then(|own| own.dns);
        let of_namespace = namespace_options(&self.namespace).ok().flatten();
        own.or(of_namespace.and_then(|given| given.dns)).is_some()
    }
}

/// The options of a workload, and what of them cannot be read.
fn options(
    spec: &LearnedPolicySpec,
    namespace: &Namespace,
    settings: &Settings,
) -> (Options, Vec<String>) {
    let mut wrong = Vec::new();
    let mut options = settings.options.clone();
    let given = namespace_options(namespace).unwrap_or_else(|error| {
        wrong.push(format!("annotation netpol.io/options: {error}"));
        None
    });
    let levels = [
        ("annotation netpol.io/options", given.as_ref()),
        ("spec.options", spec.options.as_ref()),
    ];
    for (place, given) in levels {
        match given.map(|given| given.over(&options)) {
            Some(Ok(all)) => options = all,
            Some(Err(error)) => wrong.push(format!("{place}: {error}")),
            None => {}
        }
    }
    (options, wrong)
}

/// The options in a namespace's annotation: JSON, with the fields of `spec.options`.
fn namespace_options(namespace: &Namespace) -> Result<Option<OptionsSpec>, serde_json::Error> {
    let given = namespace.options.as_deref();
    given.map(serde_json::from_str).transpose()
}
