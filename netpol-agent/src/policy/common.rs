//! What all policies depend on besides each workload's own edges.

use std::collections::BTreeSet;

use netpol_common::names::WorkloadName;

use super::finding::Finding;
use super::lessons::Taught;
use super::making::Making;
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
        let (mut denied, mut spared) = (BTreeSet::new(), BTreeSet::new());
        let mut findings = Vec::new();
        let options = &self.proposer.options;
        for (place, (name, known)) in self.proposer.workloads.iter().enumerate() {
            let asked = options.namespace(&name.namespace).default_deny;
            let mut resolvers = self.proposer.cluster.resolvers.iter();
            let answers = resolvers.any(|(own, _)| own == name);
            if !asked || known.host_network || !(self.taught.make_policy(place) || answers) {
                continue;
            }
            let lessons = self.taught.lessons(place);
            match self.policy(place, lessons, &mut BTreeSet::new()) {
                Some(_) => drop(denied.insert(name.namespace.clone())),
                None => {
                    spared.insert(name.namespace.clone());
                    findings.push((name.namespace.clone(), name.clone()));
                }
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

    /// The workloads of a namespace that have no policy of their own.
    pub(super) fn cut_off(&self, namespace: &str) -> Vec<Finding> {
        let all = self.proposer.workloads.iter().enumerate();
        let without = all.filter(|(place, (name, known))| {
            name.namespace == namespace && !known.host_network && !self.taught.make_policy(*place)
        });
        let workloads = without.map(|(_, (name, _))| WorkloadName::clone(name));
        workloads
            .map(|workload| Finding::CutOff { workload })
            .collect()
    }
}
