//! What all policies depend on besides each workload's own edges.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::deny;
use super::finding::Finding;
use super::lessons::Taught;
use super::making::Making;
use super::model::Policy;
use super::options::Dns;
use super::proposer::Proposer;
use super::remarks;
use super::widen::AllSightings;
use crate::identity::Peer;

/// What policies depend on besides a workload's own edges.
#[derive(Default)]
pub(super) struct Common {
    /// The cluster's resolvers that a policy can name, if DNS is always allowed.
    pub(super) resolvers: Vec<(Peer, u16)>,
    /// Workloads that have policies, if DNS is always allowed.
    pub(super) clients: Vec<Peer>,
    /// Namespaces that deny all else, and may ask every resolver.
    pub(super) denied: BTreeSet<String>,
    /// When ports of servers were seen, if ranges of them are to be inferred.
    pub(super) sightings: Option<AllSightings>,
}

impl<'p> Making<'p> {
    /// What all policies depend on, and what is to be said of it.
    pub(super) fn new(
        proposer: &'p Proposer<'p>,
        taught: &'p dyn Taught,
    ) -> (Self, BTreeSet<Finding>) {
        let mut findings = BTreeSet::new();
        let mut making = Self {
            proposer,
            taught,
            common: Common::default(),
        };
        if proposer.infers_ranges {
            making.common.sightings = Some(AllSightings::of(taught, proposer.workloads.len()));
        }
        if proposer.options.any(|options| options.dns == Dns::Always) {
            making.common.resolvers = making.resolvers(&mut findings);
            let clients = proposer.workloads.iter().enumerate();
            let clients = clients
                .filter(|(place, (_, known))| {
                    matches!(known.selector, Some(Ok(_))) && taught.make_policy(*place)
                })
                .map(|(_, (name, _))| name)
                .filter(|name| making.dns(name) == Dns::Always);
            making.common.clients = clients.map(|name| Peer::Workload(name.clone())).collect();
        }
        if proposer.options.any(|options| options.default_deny) {
            let (denied, said) = making.denied();
            making.common.denied = denied;
            findings.extend(said);
        }
        (making, findings)
    }

    /// The cluster's resolvers that a policy can name.
    pub(super) fn resolvers(&self, findings: &mut BTreeSet<Finding>) -> Vec<(Peer, u16)> {
        let mut resolvers = Vec::new();
        for (name, port) in &self.proposer.cluster.resolvers {
            let known = self.proposer.workloads.get(name);
            match known.and_then(|known| known.selector.as_ref()) {
                Some(Err(unselectable)) if !self.proposer.is_on_host(name) => {
                    findings.insert(remarks::unselectable(name, unselectable));
                }
                _ => resolvers.push((Peer::Workload(name.clone()), *port)),
            }
        }
        if resolvers.is_empty() {
            findings.insert(Finding::NoResolver);
        }
        resolvers
    }

    /// The namespaces that are to deny all else, and those that are not although it was asked for.
    fn denied(&self) -> (BTreeSet<String>, Vec<Finding>) {
        let all = (0..self.proposer.workloads.len()).into_par_iter();
        let asked: Vec<(usize, bool)> = all
            .filter(|place| self.is_to_be_denied(*place))
            .map(|place| {
                let lessons = self.taught.lessons(place);
                let policy = self.policy(place, lessons, &mut BTreeSet::new());
                (place, policy.is_some())
            })
            .collect();
        let (mut denied, mut spared) = (BTreeSet::new(), BTreeSet::new());
        let mut findings = Vec::new();
        for (place, has_policy) in asked {
            let Some((name, _)) = self.proposer.workloads.get_index(place) else {
                continue;
            };
            if has_policy {
                denied.insert(name.namespace.clone());
            } else {
                spared.insert(name.namespace.clone());
                findings.push((name.namespace.clone(), name.clone()));
            }
        }
        findings.retain(|(namespace, _)| denied.contains(namespace));
        denied.retain(|namespace| !spared.contains(namespace));
        let left_out = |(namespace, workload)| Finding::DefaultDenyLeftOut {
            namespace,
            workload,
        };
        (denied, findings.into_iter().map(left_out).collect())
    }

    /// Whether the namespace of the workload at a place is to deny all else, and the workload has to have a policy then.
    fn is_to_be_denied(&self, place: usize) -> bool {
        let Some((name, known)) = self.proposer.workloads.get_index(place) else {
            return false;
        };
        let asked = self.proposer.options.namespace(&name.namespace);
        if !asked.default_deny || known.host_network || !known.is_in_inventory {
            return false;
        }
        let mut resolvers = self.proposer.cluster.resolvers.iter();
        self.taught.make_policy(place) || resolvers.any(|(own, _)| own == name)
    }

    /// The policies of the namespaces that deny all else, beside those of workloads, and what is to be said of them.
    pub(super) fn denials(&self, policies: &[Policy]) -> (Vec<Policy>, BTreeSet<Finding>) {
        let mut findings = BTreeSet::new();
        if self.common.denied.is_empty() {
            return (Vec::new(), findings);
        }
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, name) in self.proposer.workloads.keys().enumerate() {
            places.entry(&name.namespace).or_default().push(place);
        }
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for policy in policies {
            let taken = names.entry(&policy.workload.namespace).or_default();
            taken.insert(&policy.name);
        }
        let resolvers = self.resolvers(&mut findings);
        let denied = self.common.denied.par_iter().map(|namespace| {
            let places = places
                .get(namespace.as_str())
                .map_or(&[][..], Vec::as_slice);
            let taken = names.get(namespace.as_str()).cloned().unwrap_or_default();
            let name = deny::name(&taken);
            let (policy, mut said) =
                deny::policy(&self.writer(), (namespace, places), &resolvers, name);
            said.extend(self.cut_off(places));
            (policy, said)
        });
        let denied: Vec<(Policy, Vec<Finding>)> = denied.collect();
        let policies = denied.into_iter().map(|(policy, said)| {
            findings.extend(said);
            policy
        });
        (policies.collect(), findings)
    }

    /// Those of some workloads that have no policy of their own.
    fn cut_off(&self, places: &[usize]) -> Vec<Finding> {
        let all = places.iter().filter_map(|place| {
            let (name, known) = self.proposer.workloads.get_index(*place)?;
            let has_none = !known.host_network && !self.taught.make_policy(*place);
            (has_none && known.is_in_inventory).then(|| name.clone())
        });
        all.map(|workload| Finding::CutOff { workload }).collect()
    }
}
