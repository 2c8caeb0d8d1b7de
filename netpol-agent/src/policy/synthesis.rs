//! From the flow graph to policies: what each workload learned, who its peers are, and the rules that say so.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use netpol_common::names::WorkloadName;
use rayon::prelude::*;

use super::cluster::Cluster;
use super::deny;
use super::dns;
use super::entities;
use super::finding::{Finding, Inexpressible};
use super::learn::Learned;
use super::lessons::{Counted, Lessons, Seen, end, judge};
use super::model::{Direction, Policy, Proposal, Selector};
use super::names::policy_names;
use super::options::{Dns, Options, OptionsFor};
use super::profile;
use super::reject;
use super::remarks;
use super::rules::rules;
use super::selectors::{Selectors, Unselectable};
use super::widen::{self, AllSightings};
use super::writer::Writer;
use crate::graph::{Evidence, FlowGraph};
use crate::identity::{EdgeId, Peer};

/// Proposes one policy for each workload with learned edges. The same graph, cluster and options always give the
/// same proposal, whatever order they were put together in.
#[must_use]
pub fn synthesise(graph: &FlowGraph, cluster: &Cluster, options: &Options) -> Proposal {
    let options = OptionsFor::from(options.clone());
    synthesise_for(graph, cluster, &options)
}

/// Like [`synthesise`], with options that may differ between namespaces and workloads.
#[must_use]
pub fn synthesise_for(graph: &FlowGraph, cluster: &Cluster, options: &OptionsFor) -> Proposal {
    taught(graph, cluster, options).proposal_of(graph)
}

/// A synthesiser that has learned every edge of a graph.
pub(super) fn taught<'a>(
    graph: &FlowGraph,
    cluster: &'a Cluster,
    options: &'a OptionsFor,
) -> Synthesiser<'a> {
    let mut synthesiser = Synthesiser::new(Cow::Borrowed(cluster), Cow::Borrowed(options));
    synthesiser.learn_all(graph);
    synthesiser
}

/// How many edges of a graph are judged at a time.
const AT_ONCE: usize = 1 << 16;

/// What is known of a cluster and of the edges in it, so that the policy of one workload can be proposed again after
/// a new edge. A cluster that changed needs a new one.
#[derive(Clone, Debug)]
pub struct Synthesiser<'a> {
    cluster: Cow<'a, Cluster>,
    options: Cow<'a, OptionsFor>,
    workloads: Known,
    left_out: LeftOutEdges,
}

/// Edges that make no rule at one of their ends, by the workload there.
pub(super) type LeftOutEdges = BTreeMap<WorkloadName, BTreeSet<(Direction, Arc<EdgeId>)>>;

/// Every workload of the cluster, and those that only the graph names.
pub(super) type Known = IndexMap<WorkloadName, Workload, FixedState>;

/// A workload, as an end of edges.
#[derive(Clone, Debug, Default)]
pub(super) struct Workload {
    /// Whether the inventory holds it.
    pub(super) is_in_inventory: bool,
    /// Whether its pods use their nodes' network.
    pub(super) host_network: bool,
    /// What selects it; `None` if it is not in the inventory.
    pub(super) selector: Option<Result<Selector, Unselectable>>,
    /// The name of its policy.
    policy: Option<String>,
    pub(super) lessons: Lessons,
}

/// What policies depend on besides a workload's own edges.
struct Common {
    /// The cluster's resolvers that a policy can name, if DNS is always allowed.
    resolvers: Vec<(Peer, u16)>,
    /// Workloads that have policies, if DNS is always allowed.
    clients: Vec<Peer>,
    /// Namespaces that deny all else, and may ask every resolver.
    denied: BTreeSet<String>,
    /// When ports of servers were seen, if ranges of them are to be inferred.
    sightings: Option<AllSightings>,
}

/// What an edge comes to at its ends, in the order of [`Direction::ALL`], and where the workloads there are known.
struct Judged {
    edge: Arc<EdgeId>,
    ends: [(Option<usize>, Option<Seen>); 2],
}

impl<'a> Synthesiser<'a> {
    /// Takes in a cluster, without any edge.
    #[must_use]
    pub fn new(cluster: Cow<'a, Cluster>, options: Cow<'a, OptionsFor>) -> Self {
        let workloads = known(&cluster);
        Self {
            cluster,
            options,
            workloads,
            left_out: LeftOutEdges::new(),
        }
    }

    /// Makes no rule of these edges at these ends from now on.
    pub(super) fn leave_out(&mut self, edges: LeftOutEdges) {
        self.left_out = edges;
    }

    /// What each workload learned, with the DNS traffic that is allowed though it was not seen.
    pub(super) fn everything_learned(&self) -> Vec<(&WorkloadName, Vec<Learned>)> {
        let common = self.common().0;
        let learners = self
            .workloads
            .iter()
            .filter(|(_, known)| known.lessons.any());
        let learned = learners.map(|(name, known)| {
            let both = Direction::ALL.map(|way| self.learned(name, known, way, &common));
            (name, both.into_iter().flatten().collect())
        });
        learned.collect()
    }

    /// Takes in an edge, in place of what was known of it. Tells which workloads' policies may be others now.
    pub fn learn(&mut self, edge: &EdgeId, evidence: &Evidence) -> BTreeSet<WorkloadName> {
        let Judged { edge, ends } = self.judge(edge, evidence);
        let mut changed = BTreeSet::new();
        for (direction, (place, seen)) in Direction::ALL.into_iter().zip(ends) {
            let (Some(seen), Peer::Workload(name)) = (seen, end(&edge, direction)) else {
                continue;
            };
            let lessons = self.lessons(place, name);
            let had_policy = lessons.any();
            lessons.insert(direction, seen);
            if had_policy != lessons.any() && self.dns(name) == Dns::Always {
                let resolvers = self.cluster.resolvers.iter();
                changed.extend(resolvers.map(|(name, _)| name.clone()));
            }
            changed.insert(name.clone());
        }
        if let (Peer::Workload(server), true) = (&edge.server, self.options.infers_ranges()) {
            changed.extend(widen::writers_of(&self.workloads, server).cloned());
        }
        changed
    }

    /// Takes in all edges of a graph, each in place of what was known of it.
    pub fn learn_all(&mut self, graph: &FlowGraph) {
        let is_first = self
            .workloads
            .values()
            .all(|known| known.lessons.is_empty());
        let edges: Vec<(&EdgeId, &Evidence)> = graph.edges.iter().collect();
        for some in edges.chunks(AT_ONCE) {
            let judged: Vec<Judged> = some
                .par_iter()
                .map(|(edge, evidence)| self.judge(edge, evidence))
                .collect();
            for Judged { edge, ends } in judged {
                for (direction, (place, seen)) in Direction::ALL.into_iter().zip(ends) {
                    if let (Some(seen), Peer::Workload(name)) = (seen, end(&edge, direction)) {
                        let lessons = self.lessons(place, name);
                        match is_first {
                            true => lessons.append(direction, seen),
                            false => lessons.insert(direction, seen),
                        }
                    }
                }
            }
        }
    }

    /// What an edge comes to.
    fn judge(&self, edge: &EdgeId, evidence: &Evidence) -> Judged {
        let edge = Arc::new(edge.clone());
        let places = Direction::ALL.map(|direction| match end(&edge, direction) {
            Peer::Workload(name) => self.workloads.get_index_of(name),
            _ => None,
        });
        let has_policies = |direction| {
            let place = match direction {
                Direction::Ingress => places[0],
                Direction::Egress => places[1],
            };
            let known = place.and_then(|place| self.workloads.get_index(place));
            matches!(end(&edge, direction), Peer::Workload(_))
                && known.is_none_or(|(_, known)| !known.host_network)
        };
        let [ingress, egress] = judge(&edge, evidence, &self.cluster, &self.options, has_policies);
        Judged {
            ends: [(places[0], ingress), (places[1], egress)],
            edge,
        }
    }

    /// What a workload learned, which is known at a place or not yet.
    fn lessons(&mut self, place: Option<usize>, name: &WorkloadName) -> &mut Lessons {
        let place = place
            .or_else(|| self.workloads.get_index_of(name))
            .unwrap_or_else(|| {
                let new = Workload::default();
                self.workloads.insert_full(name.clone(), new).0
            });
        &mut self.workloads[place].lessons
    }

    /// The edges that make rules of a workload's policy, in the order of [`Direction::ALL`]; without the DNS traffic that
    /// options allow besides.
    #[must_use]
    pub fn learned_edges(&self, workload: &WorkloadName) -> [BTreeSet<EdgeId>; 2] {
        let known = self.workloads.get(workload);
        Direction::ALL.map(|direction| {
            let learned = known.into_iter();
            let learned = learned.flat_map(|known| known.lessons.learned(direction));
            learned
                .map(|one| EdgeId::clone(&one.support.edge))
                .collect()
        })
    }

    /// How many edges make rules of a workload's policy, each direction's counted by itself.
    #[must_use]
    pub fn learned_edges_of(&self, workload: &WorkloadName) -> usize {
        let count = |known: &Workload| {
            let of = |direction| known.lessons.learned(direction).count();
            Direction::ALL.into_iter().map(of).sum()
        };
        self.workloads.get(workload).map_or(0, count)
    }

    /// The policy of one workload, with the findings about it and its edges.
    #[must_use]
    pub fn resynthesise(&self, workload: &WorkloadName) -> (Option<Policy>, BTreeSet<Finding>) {
        let mut findings = BTreeSet::new();
        let policy = self
            .workloads
            .get(workload)
            .and_then(|known| self.policy(workload, known, &self.common().0, &mut findings));
        (policy, findings)
    }

    /// All policies and findings, those about what the graph could not resolve included.
    pub(super) fn proposal_of(&self, graph: &FlowGraph) -> Proposal {
        let mut proposal = self.proposal();
        proposal.findings.extend(remarks::of_unresolved(graph));
        proposal.findings.sort();
        proposal
    }

    /// All policies and findings.
    #[must_use]
    pub fn proposal(&self) -> Proposal {
        let (common, mut findings) = self.common();
        let all: Vec<(&WorkloadName, &Workload)> = self.workloads.iter().collect();
        let parts: Vec<(Option<Policy>, BTreeSet<Finding>)> = all
            .into_par_iter()
            .map(|(name, known)| {
                let mut findings = BTreeSet::new();
                let policy = self.policy(name, known, &common, &mut findings);
                (policy, findings)
            })
            .collect();
        let mut policies = Vec::new();
        for (policy, of_workload) in parts {
            policies.extend(policy);
            findings.extend(of_workload);
        }
        for namespace in &common.denied {
            let name = deny::name(&policies, namespace);
            let resolvers = self.resolvers(&mut findings);
            let (policy, said) = deny::policy(&self.writer(), namespace, &resolvers, name);
            policies.push(policy);
            findings.extend(said);
            findings.extend(self.cut_off(namespace));
        }
        findings.extend(self.not_established());
        findings.extend(reject::unheard(&self.options, &findings));
        findings.extend(remarks::of_others(&self.cluster, |name| {
            self.workloads
                .get(name)
                .is_some_and(|known| known.lessons.any())
        }));
        policies.sort_by(|a: &Policy, b| {
            (&a.workload.namespace, &a.name).cmp(&(&b.workload.namespace, &b.name))
        });
        Proposal {
            policies,
            findings: findings.into_iter().collect(),
        }
    }

    fn is_on_host(&self, name: &WorkloadName) -> bool {
        (self.workloads.get(name)).is_some_and(|workload| workload.host_network)
    }

    fn not_established(&self) -> Option<Finding> {
        let counted = |known: &Workload| known.lessons.counted(Counted::NotEstablished);
        let edges = self.workloads.values().map(counted).sum();
        (edges > 0).then_some(Finding::NotEstablished { edges })
    }

    /// What all policies depend on, and what is to be said of it.
    fn common(&self) -> (Common, BTreeSet<Finding>) {
        let mut findings = BTreeSet::new();
        let mut common = Common {
            resolvers: Vec::new(),
            clients: Vec::new(),
            denied: BTreeSet::new(),
            sightings: (self.options.infers_ranges()).then(|| AllSightings::of(&self.workloads)),
        };
        if self.options.any(|options| options.dns == Dns::Always) {
            common.resolvers = self.resolvers(&mut findings);
            let clients = self
                .workloads
                .iter()
                .filter(|(_, known)| matches!(known.selector, Some(Ok(_))) && known.lessons.any())
                .filter(|(name, _)| self.dns(name) == Dns::Always);
            common.clients = clients
                .map(|(name, _)| Peer::Workload(name.clone()))
                .collect();
        }
        if self.options.any(|options| options.default_deny) {
            let (denied, said) = self.denied(&common);
            common.denied = denied;
            findings.extend(said);
        }
        (common, findings)
    }

    /// The cluster's resolvers that a policy can name.
    fn resolvers(&self, findings: &mut BTreeSet<Finding>) -> Vec<(Peer, u16)> {
        let mut resolvers = Vec::new();
        for (name, port) in &self.cluster.resolvers {
            let selector = (self.workloads.get(name)).and_then(|known| known.selector.as_ref());
            match selector {
                Some(Err(unselectable)) if !self.is_on_host(name) => {
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

    /// What makes a rule of one direction, with the DNS traffic that is allowed though it was not seen.
    fn learned(
        &self,
        name: &WorkloadName,
        known: &Workload,
        direction: Direction,
        common: &Common,
    ) -> Vec<Learned> {
        let mut learned: Vec<Learned> = known.lessons.learned(direction).cloned().collect();
        let seen = learned.len();
        learned.extend(dns::pairs(&self.cluster, &learned, |edge| {
            let client = match &edge.client {
                Peer::Workload(client) => client,
                _ => name,
            };
            self.dns(client) != Dns::Seen
        }));
        let always = self.dns(name) == Dns::Always;
        if !common.resolvers.is_empty() && (always || direction == Direction::Ingress) {
            let (clients, resolvers) = (&common.clients, &common.resolvers);
            learned.extend(dns::always(clients, resolvers, name, direction, &learned));
        }
        if direction == Direction::Ingress && !common.denied.is_empty() && !self.is_on_host(name) {
            let own = self.cluster.resolvers.iter().filter(|(own, _)| own == name);
            learned.extend(own.flat_map(|(_, port)| deny::asked(&common.denied, name, *port)));
        }
        if learned.len() > seen {
            learned.sort_by(|a, b| a.support.edge.cmp(&b.support.edge));
        }
        learned.retain(|one| {
            let edge = &one.support.edge;
            !self.options.rejects(edge, end(edge, direction))
        });
        if let Some(left_out) = self.left_out.get(name) {
            let edge = |one: &Learned| (direction, Arc::clone(&one.support.edge));
            learned.retain(|one| !left_out.contains(&edge(one)));
        }
        learned
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            cluster: &self.cluster,
            workloads: &self.workloads,
            sightings: None,
        }
    }

    /// The namespaces that are to deny all else, and those that are not although it was asked for.
    fn denied(&self, common: &Common) -> (BTreeSet<String>, Vec<Finding>) {
        let (mut denied, mut spared) = (BTreeSet::new(), BTreeSet::new());
        let mut findings = Vec::new();
        for (name, known) in &self.workloads {
            let asked = self.options.namespace(&name.namespace).default_deny;
            let answers = self.cluster.resolvers.iter().any(|(own, _)| own == name);
            if !asked || known.host_network || !(known.lessons.any() || answers) {
                continue;
            }
            match self.policy(name, known, common, &mut BTreeSet::new()) {
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
    fn cut_off(&self, namespace: &str) -> Vec<Finding> {
        let without = self.workloads.iter().filter(|(name, known)| {
            name.namespace == namespace && !known.host_network && !known.lessons.any()
        });
        let workloads = without.map(|(name, _)| name.clone());
        workloads
            .map(|workload| Finding::CutOff { workload })
            .collect()
    }

    /// What DNS is allowed to a workload, as a client.
    fn dns(&self, name: &WorkloadName) -> Dns {
        self.options.workload(name).dns
    }

    /// The policy of one workload, unless it learned nothing, cannot be selected or one of its edges cannot be
    /// written.
    fn policy(
        &self,
        name: &WorkloadName,
        known: &Workload,
        common: &Common,
        findings: &mut BTreeSet<Finding>,
    ) -> Option<Policy> {
        remark(name, &known.lessons, findings);
        if !known.lessons.any() {
            return None;
        }
        let writer = Writer {
            sightings: common.sightings.as_ref(),
            ..self.writer()
        };
        let mut said = BTreeSet::new();
        let options = self.options.workload(name);
        let [ingress, egress] = Direction::ALL.map(|direction| {
            let mut learned = self.learned(name, known, direction, common);
            let mut wider = widen::widen(&writer, options, (name, direction), &mut learned);
            wider.extend(reject::still_allowed(
                &writer,
                &known.lessons,
                &learned,
                direction,
            ));
            said.extend(wider.into_iter().map(|told| told.of(name, direction)));
            learned
        });
        let both = [(Direction::Ingress, &ingress), (Direction::Egress, &egress)];
        let mut hindered = BTreeSet::new();
        for (direction, learned) in both {
            hinder(name, direction, learned, &writer, &mut hindered);
        }
        if let Some(Err(unselectable)) = &known.selector {
            hindered.insert(remarks::unselectable(name, unselectable));
        }
        if !hindered.is_empty() {
            findings.extend(hindered);
            return None;
        }
        findings.extend(said);
        for (direction, learned) in both {
            let remarks = remarks::of_direction(name, direction, learned, &writer, options);
            findings.extend(remarks);
        }
        let entities = both.map(|(_, learned)| entities::rules(&writer, learned));
        let [ingress, egress] = both.map(|(direction, learned)| {
            let rules = widen::rules(&writer, learned, |narrow| {
                rules(&writer, &name.namespace, narrow)
            });
            findings.extend(remarks::of_excess(name, direction, rules.excess));
            rules.rules
        });
        let mut policy = Policy {
            workload: name.clone(),
            name: known.policy.clone()?,
            subject: known.selector.clone()?.ok()?,
            ingress,
            egress,
            entities: entities.into_iter().flatten().collect(),
            already: BTreeMap::new(),
            coverage: None,
        };
        findings.extend(profile::fit(&mut policy, options.cni));
        Some(policy)
    }
}

/// The workloads of a cluster, with what selects each and what its policy is called.
fn known(cluster: &Cluster) -> Known {
    let selectors = Selectors::new(cluster);
    let names = policy_names(cluster.workloads.keys());
    let known: Vec<(WorkloadName, Workload)> = cluster
        .workloads
        .par_iter()
        .map(|(name, workload)| {
            let known = Workload {
                is_in_inventory: true,
                host_network: workload.host_network,
                selector: Some(selectors.of(name)),
                policy: names.get(name).cloned(),
                lessons: Lessons::default(),
            };
            (name.clone(), known)
        })
        .collect();
    known.into_iter().collect()
}

/// What is to be said of a workload's edges.
fn remark(name: &WorkloadName, lessons: &Lessons, findings: &mut BTreeSet<Finding>) {
    for direction in Direction::ALL {
        let seen = lessons.of(direction).iter();
        findings.extend(seen.flat_map(|seen| &seen.findings).cloned());
    }
    let edges = lessons.counted(Counted::OwnNode);
    if edges > 0 {
        let workload = name.clone();
        findings.insert(Finding::OwnNode { workload, edges });
    }
}

/// The edges of a workload that cannot be written, and the peers that cannot be selected.
fn hinder(
    workload: &WorkloadName,
    direction: Direction,
    learned: &[Learned],
    writer: &Writer<'_>,
    findings: &mut BTreeSet<Finding>,
) {
    for alike in learned.chunk_by(|a, b| a.peer() == b.peer()) {
        let [first, ..] = alike else { continue };
        let written = writer.atoms(first.peer());
        for one in alike {
            let edge = &one.support.edge;
            let reason = match &written {
                _ if edge.port == 0 => Inexpressible::PortZero,
                Err(reason) if one.stand_ins.is_none() => reason.clone(),
                _ => continue,
            };
            if let (Inexpressible::Unselectable, Peer::Workload(name)) = (&reason, one.peer())
                && let Some(Err(unselectable)) = writer.selector(name)
            {
                findings.insert(remarks::unselectable(name, unselectable));
            }
            findings.insert(Finding::Withheld {
                workload: workload.clone(),
                direction,
                edge: EdgeId::clone(edge),
                reason,
            });
        }
    }
}
