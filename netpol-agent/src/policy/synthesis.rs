//! From the flow graph to policies: what each workload learned, who its peers are, and the rules that say so.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;

use super::cluster::Cluster;
use super::dns;
use super::finding::{Finding, Inexpressible, Widening};
use super::learn::{Learned, LeftOut, lesson};
use super::model::{Basis, Direction, Policy, PortSpec, Proposal, Selector};
use super::names::{label_value, policy_names};
use super::options::{Dns, Options};
use super::ports::{self, Ports};
use super::rules::{Writer, rules};
use super::selectors::{Selectors, Unselectable};
use crate::graph::{Evidence, FlowGraph};
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
    let resolvers: Vec<(Peer, u16)> = (cluster.resolvers.iter())
        .map(|(name, port)| (Peer::Workload(name.clone()), *port))
        .collect();
    if options.dns == Dns::Always && resolvers.is_empty() {
        findings.insert(Finding::NoResolver);
    }
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
    findings.extend(without_lessons(cluster, &lessons));
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
                Ok(learned) => {
                    learned_once = true;
                    findings.extend(remarks(edge, evidence, direction, &learned));
                    lessons
                        .entry(name)
                        .or_default()
                        .of_mut(direction)
                        .push(learned);
                }
                Err(LeftOut::OneWay) => {
                    findings.insert(Finding::OneWayLeftOut { edge: edge.clone() });
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

/// What is worth saying about a learned edge.
fn remarks(
    edge: &EdgeId,
    evidence: &Evidence,
    direction: Direction,
    learned: &Learned<'_>,
) -> Vec<Finding> {
    let mut remarks = Vec::new();
    if learned.disagreed {
        remarks.push(Finding::ViewsDisagree {
            direction,
            edge: edge.clone(),
        });
    }
    if evidence.real_client_unseen && direction == Direction::Ingress {
        remarks.push(Finding::RealClientUnseen { edge: edge.clone() });
    }
    remarks
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
            hindered.insert(unselectable_finding(workload, unselectable));
            None
        }
        None => None,
    };
    if !hindered.is_empty() {
        findings.extend(hindered);
        return None;
    }
    for direction in Direction::ALL {
        findings.extend(remarks_on(
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
                findings.insert(unselectable_finding(name, unselectable));
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

fn unselectable_finding(workload: &WorkloadName, unselectable: &Unselectable) -> Finding {
    Finding::Unselectable {
        workload: workload.clone(),
        clashes: unselectable.clashes.clone(),
        add: (
            format!("{}/workload", netpol_common::GROUP),
            label_value(workload),
        ),
    }
}

/// What is worth saying about one direction of a policy.
fn remarks_on(
    workload: &WorkloadName,
    direction: Direction,
    learned: &[Learned<'_>],
    writer: &Writer<'_>,
    options: &Options,
) -> Vec<Finding> {
    let of = |what| Finding::Widening {
        workload: workload.clone(),
        direction,
        what,
    };
    let mut remarks: Vec<Finding> = widenings(learned, writer).into_iter().map(of).collect();
    remarks.extend(crowds(learned, options.external_addresses).into_iter().map(
        |(port, addresses)| Finding::NeedsWidening {
            workload: workload.clone(),
            direction,
            port,
            addresses,
        },
    ));
    let others = learned
        .iter()
        .filter(|one| matches!(one.support.basis, Basis::OtherView { .. }))
        .count();
    if others > 0 {
        remarks.push(Finding::OtherView {
            workload: workload.clone(),
            direction,
            edges: others,
        });
    }
    if learned.is_empty() {
        remarks.push(Finding::NoTraffic {
            workload: workload.clone(),
            direction,
        });
    }
    remarks
}

/// What the rules of one direction let in beyond what was seen.
fn widenings(learned: &[Learned<'_>], writer: &Writer<'_>) -> Vec<Widening> {
    let mut by_address: BTreeMap<&Peer, Ports> = BTreeMap::new();
    let mut by_dns: BTreeMap<&Peer, Ports> = BTreeMap::new();
    for one in learned {
        let port = (one.support.edge.protocol, one.support.edge.port);
        if writer.stands_for_more(one.peer) {
            by_address.entry(one.peer).or_default().insert(port);
        }
        if matches!(one.support.basis, Basis::DnsPair | Basis::DnsAlways) {
            by_dns.entry(one.peer).or_default().insert(port);
        }
    }
    let addresses = by_address
        .into_iter()
        .map(|(peer, ports)| Widening::Addresses {
            peer: peer.clone(),
            addresses: writer.addresses(peer),
            ports: ports::specs(&ports),
        });
    let dns = by_dns.into_iter().map(|(peer, ports)| Widening::Dns {
        peer: peer.clone(),
        ports: ports::specs(&ports),
    });
    addresses.chain(dns).collect()
}

/// Ports with more external addresses than `limit`.
fn crowds(learned: &[Learned<'_>], limit: usize) -> Vec<(PortSpec, usize)> {
    let mut external: BTreeMap<_, BTreeSet<&Peer>> = BTreeMap::new();
    for one in learned
        .iter()
        .filter(|one| matches!(one.peer, Peer::External(_)))
    {
        let edge = &one.support.edge;
        external
            .entry((edge.protocol, edge.port))
            .or_default()
            .insert(one.peer);
    }
    external
        .into_iter()
        .filter(|(_, addresses)| addresses.len() > limit)
        .map(|((protocol, port), addresses)| {
            (
                PortSpec {
                    protocol,
                    port,
                    end_port: None,
                },
                addresses.len(),
            )
        })
        .collect()
}

/// The workloads that get no policy because they learned nothing, or because policies do not apply to them.
fn without_lessons(
    cluster: &Cluster,
    lessons: &BTreeMap<&WorkloadName, Lessons<'_>>,
) -> Vec<Finding> {
    cluster
        .workloads
        .iter()
        .filter(|(name, _)| !lessons.contains_key(name))
        .map(|(name, workload)| match workload.host_network {
            true => Finding::HostNetwork {
                workload: name.clone(),
            },
            false => Finding::NoPolicy {
                workload: name.clone(),
            },
        })
        .collect()
}
