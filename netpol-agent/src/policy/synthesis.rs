//! From the flow graph to policies: what each workload learned, who its peers are, and the rules that say so.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;

use super::cluster::Cluster;
use super::dns;
use super::finding::{Finding, Inexpressible};
use super::learn::{Learned, LeftOut, lesson};
use super::model::{Direction, Policy, Proposal, Selector};
use super::names::policy_names;
use super::options::{Dns, Options};
use super::remarks;
use super::rules::{Writer, rules};
use super::selectors::{Selectors, Unselectable};
use crate::graph::FlowGraph;
use crate::identity::{EdgeId, Peer};

/// Proposes one policy for each workload with learned edges. The same graph, cluster and options always give the
/// same proposal, whatever order they were put together in.
#[must_use]
pub fn synthesise(graph: &FlowGraph, cluster: &Cluster, options: &Options) -> Proposal {
    let mut findings = BTreeSet::new();
    let mut lessons = learn(graph, cluster, options, &mut findings);
    let selectors = select(cluster, &lessons);
    let everybody: Vec<Peer> = (lessons.keys())
        .filter(|name| matches!(selectors.get(*name), Some(Ok(_))))
        .map(|name| Peer::Workload((*name).clone()))
        .collect();
    let resolvers = match options.dns {
        Dns::Always => resolvers(cluster, &selectors, &mut findings),
        Dns::Seen | Dns::Pair => Vec::new(),
    };
    for (name, learned) in &mut lessons {
        learned.add_dns(cluster, options.dns, name, &everybody, &resolvers);
    }
    let writer = Writer {
        cluster,
        selectors: &selectors,
    };
    let names = policy_names(cluster.workloads.keys());
    let mut policies: Vec<Policy> = Vec::new();
    for (name, learned) in &lessons {
        let policy = policy(
            name,
            learned,
            &writer,
            names.get(name),
            options,
            &mut findings,
        );
        policies.extend(policy);
    }
    findings.extend(remarks::of_unresolved(graph));
    findings.extend(remarks::of_others(cluster, |name| {
        lessons.contains_key(name)
    }));
    policies
        .sort_by(|a, b| (&a.workload.namespace, &a.name).cmp(&(&b.workload.namespace, &b.name)));
    Proposal {
        policies,
        findings: findings.into_iter().collect(),
    }
}

/// What one workload learned, by direction.
#[derive(Default)]
struct Lessons<'a> {
    ingress: Vec<Learned<'a>>,
    egress: Vec<Learned<'a>>,
}

/// The selectors of all workloads that take part in a rule.
pub(super) type Chosen = BTreeMap<WorkloadName, Result<Selector, Unselectable>>;

impl<'a> Lessons<'a> {
    fn of(&self, direction: Direction) -> &[Learned<'a>] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    fn of_mut(&mut self, direction: Direction) -> &mut Vec<Learned<'a>> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// Adds the DNS traffic that is allowed though it was not seen.
    fn add_dns(
        &mut self,
        cluster: &Cluster,
        dns: Dns,
        name: &WorkloadName,
        everybody: &'a [Peer],
        resolvers: &'a [(Peer, u16)],
    ) {
        for direction in Direction::ALL {
            let learned = self.of_mut(direction);
            if dns != Dns::Seen {
                learned.extend(dns::pairs(cluster, learned));
            }
            if dns == Dns::Always {
                let known: BTreeSet<EdgeId> =
                    learned.iter().map(|one| one.support.edge.clone()).collect();
                let always = dns::always(everybody, resolvers, name, direction);
                learned.extend(
                    always
                        .into_iter()
                        .filter(|one| !known.contains(&one.support.edge)),
                );
            }
        }
    }
}

/// What every workload learned, without those that learned nothing.
fn learn<'a>(
    graph: &'a FlowGraph,
    cluster: &Cluster,
    options: &Options,
    findings: &mut BTreeSet<Finding>,
) -> BTreeMap<&'a WorkloadName, Lessons<'a>> {
    let mut lessons: BTreeMap<&WorkloadName, Lessons<'_>> = BTreeMap::new();
    let mut not_established = 0;
    let mut own_node: BTreeMap<&WorkloadName, usize> = BTreeMap::new();
    for (edge, evidence) in &graph.edges {
        let mut refused = false;
        let mut learned_once = false;
        for (direction, name) in ends(edge, cluster) {
            match lesson(edge, evidence, direction, options.one_way) {
                Ok(learned) if is_gone(cluster, learned.peer) => {
                    findings.insert(Finding::NodeGone { edge: edge.clone() });
                }
                Ok(learned) => {
                    learned_once = true;
                    findings.extend(remarks::of_edge(edge, evidence, direction, &learned));
                    lessons
                        .entry(name)
                        .or_default()
                        .of_mut(direction)
                        .push(learned);
                }
                Err(LeftOut::OneWay) => {
                    findings.insert(Finding::OneWayLeftOut { edge: edge.clone() });
                }
                Err(LeftOut::OtherEndOnly) => {
                    findings.insert(Finding::OtherEndOnly {
                        direction,
                        edge: edge.clone(),
                    });
                }
                Err(LeftOut::Unknown) => {
                    findings.insert(Finding::UnknownOutcome { edge: edge.clone() });
                }
                Err(LeftOut::NotEstablished) => refused = true,
                Err(LeftOut::OwnNode) => *own_node.entry(name).or_default() += 1,
            }
        }
        not_established += usize::from(refused && !learned_once);
    }
    if not_established > 0 {
        findings.insert(Finding::NotEstablished {
            edges: not_established,
        });
    }
    findings.extend(
        own_node
            .into_iter()
            .map(|(workload, edges)| Finding::OwnNode {
                workload: workload.clone(),
                edges,
            }),
    );
    lessons
}

/// The workloads at the ends of an edge that a policy can apply to.
fn ends<'a>(
    edge: &'a EdgeId,
    cluster: &Cluster,
) -> impl Iterator<Item = (Direction, &'a WorkloadName)> {
    [
        (Direction::Ingress, &edge.server),
        (Direction::Egress, &edge.client),
    ]
    .into_iter()
    .filter_map(|(direction, peer)| match peer {
        Peer::Workload(name) => Some((direction, name)),
        _ => None,
    })
    .filter(|(_, name)| {
        !cluster
            .workloads
            .get(*name)
            .is_some_and(|workload| workload.host_network)
    })
}

/// Whether a peer is a node that was removed: it has no address that a rule could name, and needs none.
fn is_gone(cluster: &Cluster, peer: &Peer) -> bool {
    matches!(peer, Peer::Node(name) if cluster.nodes.get(name).is_none_or(BTreeSet::is_empty))
}

/// Selectors for all workloads that learned something, and for their peers.
fn select(cluster: &Cluster, lessons: &BTreeMap<&WorkloadName, Lessons<'_>>) -> Chosen {
    let selectors = Selectors::new(cluster);
    let learned = lessons
        .values()
        .flat_map(|lessons| lessons.ingress.iter().chain(&lessons.egress));
    let peers = learned.filter_map(|learned| match learned.peer {
        Peer::Workload(name) => Some(name),
        _ => None,
    });
    let resolvers = cluster.resolvers.iter().map(|(name, _)| name);
    let names: BTreeSet<&WorkloadName> = peers
        .chain(lessons.keys().copied())
        .chain(resolvers)
        .collect();
    names
        .into_iter()
        .map(|name| (name.clone(), selectors.of(name)))
        .collect()
}

/// The cluster's resolvers that a policy can name.
fn resolvers(
    cluster: &Cluster,
    selectors: &Chosen,
    findings: &mut BTreeSet<Finding>,
) -> Vec<(Peer, u16)> {
    let mut resolvers = Vec::new();
    for (name, port) in &cluster.resolvers {
        let on_host = (cluster.workloads.get(name)).is_some_and(|workload| workload.host_network);
        match selectors.get(name) {
            Some(Err(unselectable)) if !on_host => {
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

/// The policy of one workload, unless it cannot be selected or one of its edges cannot be written.
fn policy(
    workload: &WorkloadName,
    lessons: &Lessons<'_>,
    writer: &Writer<'_>,
    name: Option<&String>,
    options: &Options,
    findings: &mut BTreeSet<Finding>,
) -> Option<Policy> {
    let mut hindered = hindrances(workload, lessons, writer);
    let subject = match writer.selectors.get(workload) {
        Some(Ok(subject)) => Some(subject.clone()),
        Some(Err(unselectable)) => {
            hindered.insert(remarks::unselectable(workload, unselectable));
            None
        }
        None => None,
    };
    if !hindered.is_empty() {
        findings.extend(hindered);
        return None;
    }
    for direction in Direction::ALL {
        findings.extend(remarks::of_direction(
            workload,
            direction,
            lessons.of(direction),
            writer,
            options,
        ));
    }
    Some(Policy {
        workload: workload.clone(),
        name: name?.clone(),
        subject: subject?,
        ingress: rules(writer, &workload.namespace, &lessons.ingress),
        egress: rules(writer, &workload.namespace, &lessons.egress),
    })
}

/// The edges of a workload that cannot be written, and the peers that cannot be selected.
fn hindrances(
    workload: &WorkloadName,
    lessons: &Lessons<'_>,
    writer: &Writer<'_>,
) -> BTreeSet<Finding> {
    let mut findings = BTreeSet::new();
    for direction in Direction::ALL {
        for learned in lessons.of(direction) {
            let edge = &learned.support.edge;
            let Err(reason) = writer.atoms(learned.peer, edge.port) else {
                continue;
            };
            if let (Inexpressible::Unselectable, Peer::Workload(name)) = (&reason, learned.peer)
                && let Some(Err(unselectable)) = writer.selectors.get(name)
            {
                findings.insert(remarks::unselectable(name, unselectable));
            }
            let (workload, edge) = (workload.clone(), edge.clone());
            findings.insert(Finding::Withheld {
                workload,
                direction,
                edge,
                reason,
            });
        }
    }
    findings
}
