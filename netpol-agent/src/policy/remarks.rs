//! Findings: what is worth saying about edges, directions and workloads.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;
use netpol_common::words::Outcome;

use super::cluster::Cluster;
use super::finding::Finding;
use super::learn::Learned;
use super::model::{Basis, Direction, PortSpec};
use super::names::label_value;
use super::options::Options;
use super::ports::{self, Ports};
use super::rules::Excess;
use super::selectors::Unselectable;
use super::text;
use super::widening::Widening;
use super::writer::Writer;
use crate::graph::{Evidence, FlowGraph, UnresolvedFlow};
use crate::identity::{EdgeId, Peer};

/// What is worth saying about a learned edge.
pub(super) fn of_edge(
    edge: &EdgeId,
    evidence: &Evidence,
    direction: Direction,
    learned: &Learned,
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
    if evidence.by_node_port && direction == Direction::Egress {
        remarks.push(Finding::NodePort { edge: edge.clone() });
    }
    remarks
}

/// That a workload cannot be selected, with the label that would change it.
pub(super) fn unselectable(workload: &WorkloadName, unselectable: &Unselectable) -> Finding {
    Finding::Unselectable {
        workload: workload.clone(),
        clashes: unselectable.clashes.clone(),
        add: (
            format!("{}/workload", netpol_common::GROUP),
            label_value(workload),
        ),
    }
}

/// That there may be more rules or entries than are needed.
pub(super) fn of_excess(
    workload: &WorkloadName,
    direction: Direction,
    excess: Excess,
) -> Option<Finding> {
    (!excess.is_none()).then(|| Finding::NotLeast {
        workload: workload.clone(),
        direction,
        excess,
    })
}

/// What is worth saying about one direction of a policy.
pub(super) fn of_direction(
    workload: &WorkloadName,
    direction: Direction,
    learned: &[Learned],
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
    if !(learned.iter()).any(|one| one.support.basis != Basis::DnsAlways) {
        remarks.push(Finding::NoTraffic {
            workload: workload.clone(),
            direction,
        });
    }
    remarks
}

/// What the rules of one direction let in beyond what was seen.
fn widenings(learned: &[Learned], writer: &Writer<'_>) -> Vec<Widening> {
    let mut by_address: BTreeMap<&Peer, Ports> = BTreeMap::new();
    let mut by_dns: BTreeMap<&Peer, Ports> = BTreeMap::new();
    for alike in learned.chunk_by(Learned::has_same_peer) {
        let is_wider = (alike.first()).is_some_and(|one| writer.stands_wide(one));
        for one in alike {
            let port = (one.support.edge.protocol, one.support.edge.port);
            if is_wider && one.stand_ins.is_none() {
                let ports = by_address.entry(one.peer()).or_default();
                ports.extend(one.each_port());
            }
            if matches!(one.support.basis, Basis::DnsPair | Basis::DnsAlways) {
                by_dns.entry(one.peer()).or_default().insert(port);
            }
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
fn crowds(learned: &[Learned], limit: usize) -> Vec<(PortSpec, usize)> {
    let mut external: BTreeMap<_, BTreeSet<&Peer>> = BTreeMap::new();
    for one in learned
        .iter()
        .filter(|one| matches!(one.peer(), Peer::External(_)) && one.stand_ins.is_none())
    {
        let edge = &one.support.edge;
        external
            .entry((edge.protocol, edge.port))
            .or_default()
            .insert(one.peer());
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

/// Traffic of which an end could not be told. What was refused or not answered would make no rule anyway, and is only
/// counted.
pub(super) fn of_unresolved(graph: &FlowGraph) -> Vec<Finding> {
    let unresolved = &graph.unresolved;
    let attempt =
        |flow: &&UnresolvedFlow| matches!(flow.outcome, Outcome::Refused | Outcome::Unanswered);
    let mut alike: BTreeMap<_, Ports> = BTreeMap::new();
    for flow in unresolved.flows.keys().filter(|flow| !attempt(flow)) {
        let ends = (&flow.client, &flow.server, flow.reason.to_string());
        let ports = alike.entry(ends).or_default();
        ports.insert((flow.protocol, flow.port));
    }
    let of_flows = alike.into_iter().map(|((client, server, reason), ports)| {
        let ports = text::list(ports::specs(&ports));
        Finding::Unresolved {
            what: format!("{client} -> {server} {ports}: {reason}"),
        }
    });
    let attempts = unresolved.flows.keys().filter(attempt).count();
    let attempts = (attempts > 0).then_some(Finding::UnresolvedAttempts { flows: attempts });
    let beyond = unresolved.beyond_bound;
    let beyond = (beyond > 0).then_some(Finding::UnresolvedBeyondBound { records: beyond });
    of_flows.chain(attempts).chain(beyond).collect()
}

/// The workloads that get no policy because they learned nothing, or because policies do not apply to them.
pub(super) fn of_others(
    cluster: &Cluster,
    learned: impl Fn(&WorkloadName) -> bool,
) -> Vec<Finding> {
    cluster
        .workloads
        .iter()
        .filter(|(name, _)| !learned(name))
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
