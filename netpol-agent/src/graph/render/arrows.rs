//! What drawings have in common: boxes in groups, and one arrow for all edges from one peer to another.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::ObjectName;
use netpol_common::words::{Outcome, Protocol};

use crate::graph::{Evidence, FlowGraph};
use crate::identity::Peer;

/// What the edges of an arrow came to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Style {
    /// Something was answered.
    Answered,
    /// Nothing was answered, and nothing says no.
    Unsure,
    /// Refused or unanswered only.
    Failed,
}

/// Edges of one style and the same notes from one peer to another, by protocol and port.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrow {
    pub(super) ports: BTreeMap<Protocol, BTreeSet<u16>>,
}

/// What identifies an arrow.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ArrowId<'a> {
    pub(super) client: &'a Peer,
    pub(super) server: &'a Peer,
    pub(super) style: Style,
    pub(super) notes: Vec<String>,
}

/// Every arrow, in canonical order.
pub(super) fn arrows(graph: &FlowGraph) -> BTreeMap<ArrowId<'_>, Arrow> {
    let mut arrows: BTreeMap<ArrowId<'_>, Arrow> = BTreeMap::new();
    for (id, evidence) in &graph.edges {
        let arrow = ArrowId {
            client: &id.client,
            server: &id.server,
            style: Style::of(evidence),
            notes: notes(evidence),
        };
        let ports = &mut arrows.entry(arrow).or_default().ports;
        ports.entry(id.protocol).or_default().insert(id.port);
    }
    arrows
}

/// Every peer, by the group that it is drawn in: a namespace, or none.
pub(super) fn groups(graph: &FlowGraph) -> BTreeMap<Option<&str>, BTreeSet<&Peer>> {
    let mut groups: BTreeMap<Option<&str>, BTreeSet<&Peer>> = BTreeMap::new();
    for peer in graph.edges.keys().flat_map(|id| [&id.client, &id.server]) {
        groups.entry(group(peer)).or_default().insert(peer);
    }
    groups
}

/// The namespace of a workload.
pub(super) fn group(peer: &Peer) -> Option<&str> {
    match peer {
        Peer::Workload(name) => Some(&name.namespace),
        Peer::Node(_) | Peer::ApiServer | Peer::External(_) => None,
    }
}

/// The name of a peer within its group.
pub(super) fn label(peer: &Peer) -> String {
    match peer {
        Peer::Workload(name) => format!("{}/{}", name.kind, name.name),
        other => other.to_string(),
    }
}

impl Style {
    fn of(evidence: &Evidence) -> Self {
        let styles = evidence.outcomes().map(|outcome| match outcome {
            Outcome::Established => Self::Answered,
            Outcome::OneWay | Outcome::Unknown => Self::Unsure,
            Outcome::Refused | Outcome::Unanswered => Self::Failed,
        });
        styles.min().unwrap_or(Self::Unsure)
    }
}

impl Arrow {
    /// `22/TCP (refused, own node)`.
    pub(super) fn words(&self, id: &ArrowId<'_>) -> String {
        let ports = self.ports();
        if id.notes.is_empty() {
            return ports;
        }
        format!("{ports} ({})", id.notes.join(", "))
    }

    /// `8080, 9000-9003/TCP, 53/UDP`.
    fn ports(&self) -> String {
        let protocols = self.ports.iter();
        let texts = protocols.map(|(protocol, ports)| format!("{}/{protocol}", ranges(ports)));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// Why an arrow is not to be taken at its word, or what became of it if it was not answered.
fn notes(evidence: &Evidence) -> Vec<String> {
    let mut notes = Vec::new();
    if Style::of(evidence) != Style::Answered {
        notes.extend(evidence.outcomes().map(|outcome| outcome.name().to_owned()));
    }
    if !evidence.by_service.is_empty() {
        notes.push(format!("by service {}", names(&evidence.by_service)));
    }
    if evidence.own_node {
        notes.push("own node".to_owned());
    }
    if evidence.real_client_unseen {
        notes.push("real client unseen".to_owned());
    }
    notes
}

fn names(services: &BTreeSet<ObjectName>) -> String {
    let names: Vec<_> = services.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// Ports, with neighbours as ranges.
fn ranges(ports: &BTreeSet<u16>) -> String {
    let ports: Vec<u16> = ports.iter().copied().collect();
    let runs = ports.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let texts = runs.map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        one => one.first().map(u16::to_string).unwrap_or_default(),
    });
    texts.collect::<Vec<_>>().join(", ")
}
