//! What people and the controller said of a cluster's workloads, taken into what is generated from it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};

use super::cluster::waiting;
use super::inputs::Loaded;
use super::learned::{self, name_of};
use super::options::Given;
use super::origin::{Live, Origin};
use super::output::{note, warn};
use crate::cluster::{Cluster as Connection, ClusterError};
use crate::control::{Basis, Facts, Folded, Namespace, Proposal, Settings};
use crate::crd::{ConditionType, LearnedPolicyStatus};
use crate::policy::{Cluster, Options, Policy};

/// How many findings of a kind are printed one by one.
const SHOWN: usize = 20;

/// What went wrong with watching, as far as it may have left edges out.
const UNSEEN: [ConditionType; 3] = [
    ConditionType::LostEvents,
    ConditionType::ObservationGap,
    ConditionType::Unobserved,
];

/// What was said.
#[derive(Default)]
pub(super) struct Wishes {
    is_cluster: bool,
    namespaces: BTreeMap<String, Namespace>,
    proposals: BTreeMap<ObjectName, Proposal>,
}

impl Wishes {
    /// Reads what a cluster holds of it, of a namespace or of all; files hold nothing. What a person may not read is left
    /// out, which is told.
    ///
    /// # Errors
    ///
    /// An API server that does not answer.
    pub(super) fn read(origin: &Origin<'_>, namespace: Option<&str>) -> anyhow::Result<Self> {
        let Origin::Cluster(live) = origin else {
            return Ok(Self::default());
        };
        Ok(Self {
            is_cluster: true,
            proposals: proposals(live, namespace)?,
            namespaces: namespaces(live, namespace)?,
        })
    }

    /// What policies are made of. Tells what was taken in besides what was seen.
    pub(super) fn basis<'a>(
        &'a self,
        loaded: &'a Loaded,
        given: &Given,
        options: &Options,
    ) -> Basis<'a> {
        if !self.is_cluster {
            let cluster = Cluster::of(&loaded.index);
            return Basis::plain(&loaded.graph, cluster, options.clone());
        }
        let settings = Settings {
            options: options.clone(),
            ..Settings::default()
        };
        // What only the leader knows decides on modes, and those are in the statuses.
        let facts = Facts {
            graph: &loaded.graph,
            index: &loaded.index,
            observers: const { &BTreeMap::new() },
            losses: &[],
            namespaces: &self.namespaces,
            labels: const { &BTreeMap::new() },
            proposals: &self.proposals,
            policies: const { &BTreeMap::new() },
            called: const { &BTreeSet::new() },
            now: Timestamp::now(),
        };
        let basis = Basis::of(&facts, &settings, &given.overrides(options));
        tell(&basis, loaded.namespace.as_deref());
        basis
    }

    /// What the controller answered, by workload.
    pub(super) fn statuses(&self) -> BTreeMap<WorkloadName, &LearnedPolicyStatus> {
        let all = self.proposals.iter().filter_map(|(name, known)| {
            let own = known.status.workload_ref.as_ref()?;
            let workload = WorkloadName::new(&name.namespace, &own.kind, &own.name);
            Some((workload, &known.status))
        });
        all.collect()
    }

    /// Tells of which workloads with a policy edges may have been left out.
    pub(super) fn tell_unseen(&self, policies: &[Policy]) {
        let statuses = self.statuses();
        for kind in UNSEEN {
            let known = policies.iter().filter_map(|policy| {
                let status = statuses.get(&policy.workload)?;
                let condition = status.condition(kind).filter(|_| status.holds(kind))?;
                Some(format!(
                    "{kind:?}: {}: {}",
                    policy.workload, condition.message
                ))
            });
            shown(
                known.collect(),
                &format!("{kind:?}: as many workloads more"),
            );
        }
    }
}

/// Tells what was taken in besides what was seen, and what could not be.
fn tell(basis: &Basis<'_>, namespace: Option<&str>) {
    let folded = sentence(&basis.folded);
    if !folded.is_empty() {
        note(
            "finding",
            format_args!("FromCluster: besides what was seen, these count: {folded}"),
        );
    }
    let wrong = basis.wrong.iter();
    let wrong = wrong.map(|(name, wrong)| format!("Unreadable: LearnedPolicy {name}: {wrong}"));
    shown(wrong.collect(), "Unreadable: so many more");
    let own = |name: &WorkloadName| namespace.is_none_or(|namespace| name.namespace == namespace);
    let absent = basis.absent.iter().filter(|(name, _)| own(name));
    let absent = absent.map(|(workload, edges)| {
        format!(
            "Absent: {workload}: edges left out of its policy until who is at their other end is there again: {edges}"
        )
    });
    shown(absent.collect(), "Absent: as many workloads more");
}

fn sentence(folded: &Folded) -> String {
    let parts = [
        (folded.rejected, "edges rejected"),
        (folded.approved, "edges approved"),
        (
            folded.frozen,
            "workloads with frozen edges (audit, enforce)",
        ),
        (folded.workloads, "workloads with options of their own"),
        (folded.namespaces, "namespaces with options of their own"),
        (folded.off, "workloads without a policy, being off"),
    ];
    let said = parts.into_iter().filter(|(count, _)| *count > 0);
    let said = said.map(|(count, what)| format!("{what}: {count}"));
    said.collect::<Vec<_>>().join("; ")
}

fn shown(all: Vec<String>, more: &str) {
    for line in all.iter().take(SHOWN) {
        note("finding", line);
    }
    if let Some(left @ 1..) = all.len().checked_sub(SHOWN) {
        note("finding", format_args!("{more}: {left}"));
    }
}

fn proposals(
    live: &Live,
    namespace: Option<&str>,
) -> Result<BTreeMap<ObjectName, Proposal>, ClusterError> {
    let cluster: &Connection = live.session.cluster();
    let listed = waiting("reading the LearnedPolicies", || {
        live.session.wait(learned::list(cluster, namespace))
    });
    match listed {
        Ok(all) => {
            let named = all.into_iter().map(|one| (name_of(&one), one.into()));
            Ok(named.collect())
        }
        Err(error @ (ClusterError::Forbidden { .. } | ClusterError::NoDefinition)) => {
            warn(format_args!(
                "what people approved, rejected and chose in LearnedPolicies is left out, and so is what is frozen: {error}"
            ));
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error),
    }
}

fn namespaces(
    live: &Live,
    namespace: Option<&str>,
) -> Result<BTreeMap<String, Namespace>, ClusterError> {
    let cluster = live.session.cluster();
    let listed = waiting("reading the namespaces", || {
        live.session.wait(learned::namespaces(cluster, namespace))
    });
    match listed {
        Ok(all) => {
            let named = all.into_iter().map(|one| {
                let said = Namespace::of(&one.metadata);
                (one.metadata.name.unwrap_or_default(), said)
            });
            Ok(named.collect())
        }
        Err(ClusterError::NotFound { .. }) => Ok(BTreeMap::new()),
        Err(error @ ClusterError::Forbidden { .. }) => {
            warn(format_args!(
                "what the annotations of namespaces ask for is left out: {error}"
            ));
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error),
    }
}
