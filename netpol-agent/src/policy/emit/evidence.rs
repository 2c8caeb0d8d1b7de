//! The edges that a rule rests on, in words: days instead of times and no counts, so that a policy does not change
//! with every connection.
//!
//! Peers of which the same is to be said share a line. Readers of YAML bound how many comment lines may stand
//! together, so a rule with much evidence says less about each peer: all of them are named, and the first and last
//! day of all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use netpol_common::names::ObjectName;

use crate::identity::Peer;
use crate::policy::model::{Basis, Direction, Policy, Support, WrittenAs};
use crate::policy::ports::{self, Ports};
use crate::policy::text::list;

/// How many lines may stand above a rule.
const MOST_LINES: usize = 16;

/// What is to be said of an edge besides its peer.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Said {
    ports: Ports,
    first: Option<Date>,
    last: Option<Date>,
    services: BTreeSet<ObjectName>,
    written_as: BTreeSet<Arc<WrittenAs>>,
}

/// One line for each kind of word that edges rest on and for whatever else differs, most telling first.
pub(super) fn lines(direction: Direction, evidence: &[Support]) -> Vec<String> {
    let by_peer = by_peer(direction, evidence);
    let mut alike: BTreeMap<(Basis, &Said), BTreeSet<&Peer>> = BTreeMap::new();
    for ((peer, basis), said) in &by_peer {
        alike.entry((*basis, said)).or_default().insert(peer);
    }
    if alike.len() <= MOST_LINES {
        let lines = alike.iter();
        return lines
            .map(|((basis, said), peers)| line(direction, peers, *basis, said))
            .collect();
    }
    let mut together: BTreeMap<Basis, (BTreeSet<&Peer>, Said)> = BTreeMap::new();
    for ((peer, basis), said) in &by_peer {
        let (peers, all) = together.entry(*basis).or_default();
        peers.insert(peer);
        all.join(said);
    }
    let lines = together.iter();
    lines
        .map(|(basis, (peers, said))| line(direction, peers, *basis, said))
        .collect()
}

/// What is said of all rules together, by the path of the value that it stands above: `spec` of the object at `path`.
pub(super) fn of_policy(policy: &Policy, path: &str) -> Option<(String, Vec<String>)> {
    let line = policy.coverage.clone()?;
    Some((format!("{path}/spec"), vec![line]))
}

/// What is said of a direction without rules.
fn nothing(policy: &Policy, direction: Direction) -> String {
    match policy.is_of_namespace() {
        true => format!("No {} but what other policies allow.", direction.name()),
        false => format!("No {} that makes a rule was seen.", direction.name()),
    }
}

/// Whom a policy is for.
pub(super) fn subject(policy: &Policy) -> String {
    match policy.is_of_namespace() {
        true => format!("every pod of the namespace {}", policy.workload.name),
        false => policy.workload.to_string(),
    }
}

/// What is said of a whole direction: what other policies allow of it, or that there is nothing to allow.
pub(super) fn of_direction(policy: &Policy, direction: Direction) -> Option<Vec<String>> {
    let already = policy.already.get(&direction).cloned();
    let empty = policy.rules(direction).is_empty();
    let said = already.or_else(|| empty.then(|| nothing(policy, direction)));
    said.map(|line| vec![line])
}

/// What is to be said of each peer and each kind of word.
fn by_peer(direction: Direction, evidence: &[Support]) -> BTreeMap<(&Peer, Basis), Said> {
    let mut by_peer: BTreeMap<(&Peer, Basis), Said> = BTreeMap::new();
    for support in evidence {
        let peer = match direction {
            Direction::Ingress => &support.edge.client,
            Direction::Egress => &support.edge.server,
        };
        let said = Said {
            ports: ports_of(support),
            first: support.first_seen.map(day),
            last: support.last_seen.map(day),
            services: support.by_service.clone(),
            written_as: support.written_as.iter().cloned().collect(),
        };
        by_peer
            .entry((peer, support.basis))
            .or_default()
            .join(&said);
    }
    by_peer
}

impl Said {
    fn join(&mut self, other: &Self) {
        self.ports.extend(&other.ports);
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
        self.services.extend(other.services.iter().cloned());
        self.written_as.extend(other.written_as.iter().cloned());
    }

    /// From which day to which, in UTC; empty if no time is known.
    fn days(&self) -> String {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (Some(day), _) | (None, Some(day)) => day.to_string(),
            (None, None) => String::new(),
        }
    }
}

fn line(direction: Direction, peers: &BTreeSet<&Peer>, basis: Basis, said: &Said) -> String {
    let preposition = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let mut line = format!(
        "{preposition} {}: {}",
        list(peers),
        list(ports::specs(&said.ports))
    );
    let service = match said.services.is_empty() {
        true => String::new(),
        false => format!("by service {}", list(&said.services)),
    };
    let written_as = said
        .written_as
        .iter()
        .map(|written_as| in_words(written_as));
    for part in [said.days(), word(basis).to_owned(), service]
        .into_iter()
        .chain(written_as)
    {
        if !part.is_empty() {
            line.push_str("; ");
            line.push_str(&part);
        }
    }
    line
}

/// What a peer is written as instead of itself.
fn in_words(written_as: &WrittenAs) -> String {
    match written_as {
        WrittenAs::Namespace => "written as its whole namespace".to_owned(),
        WrittenAs::Group(name) => format!("written as the group {name}"),
        WrittenAs::Blocks => "written as wider blocks".to_owned(),
        WrittenAs::Outside => "written as everything outside the cluster".to_owned(),
        WrittenAs::Nodes => "written as every node".to_owned(),
        WrittenAs::Service(name) => format!("written as the service {name}"),
    }
}

/// What the edges rest on, where it is not the plain case.
fn word(basis: Basis) -> &'static str {
    match basis {
        Basis::Established => "",
        Basis::OneWay => "one-way",
        Basis::OtherView { one_way: false } => "seen at the other end only",
        Basis::OtherView { one_way: true } => "one-way, seen at the other end only",
        Basis::DnsPair => "not seen: DNS may turn from UDP to TCP",
        Basis::DnsAlways => "not seen: DNS is always allowed",
    }
}

/// The ports that are written for an edge.
fn ports_of(support: &Support) -> Ports {
    let port = support.edge.port;
    let (first, last) = support.range.unwrap_or((port, port));
    (first..=last)
        .map(|port| (support.edge.protocol, port))
        .collect()
}

fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}
