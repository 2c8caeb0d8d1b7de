//! Whether an end that did not see an edge was watched while the other end saw it.
//!
//! The other end's word is for ends without an agent. An end that had one and saw nothing says something too: its
//! address was used by somebody else, or the handshake was never completed. Only records that name their observer and
//! their time can tell; without them an end counts as unwatched, so that no edge is lost.
//!
//! An end may also have seen the same connection under another name: behind a translation of addresses that is not in
//! the inventory, its server is an address outside or a node, and its client a node or whoever masqueraded it. An end
//! that saw any such traffic at that time counts as unwatched too.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use indexmap::{IndexMap, IndexSet};
use jiff::{SignedDuration, Timestamp};
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol, View};

use super::FlowGraph;
use crate::identity::{EdgeId, Mark, Peer};

/// How far apart two ends' clocks, and the two sides of a translation of addresses, may be.
const SLACK: SignedDuration = SignedDuration::from_mins(1);
/// A longer silence of an observer, all of whose pods stay silent, may be a time without an agent.
const SILENCE: SignedDuration = SignedDuration::from_hours(1);

type Span = (Timestamp, Timestamp);

/// Which ends were watched when, and when the other ends of edges saw them.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    /// When each observer saw anything at all: spans apart, in order.
    observers: BTreeMap<String, Vec<Span>>,
    /// When an observer saw anything on the interfaces of a workload, and the workload as a server.
    interfaces: BTreeMap<Peer, BTreeMap<String, Interfaces>>,
    heard: IndexMap<Arc<EdgeId>, Heard, FixedState>,
    /// The names of nodes, by whose places here all else names them.
    nodes: IndexSet<String, FixedState>,
    /// When clients were seen by themselves to reach an address that may stand for anybody.
    veiled: BTreeMap<(Peer, Protocol), Span>,
    /// When an observer saw what could not be resolved, on clients' or on servers' interfaces; an observer that is not
    /// named may be any.
    unresolved: BTreeMap<(Option<String>, View, Protocol), Span>,
}

/// What an observer saw on the interfaces of one workload.
#[derive(Clone, Copy, Debug)]
struct Interfaces {
    any: Span,
    as_server: Option<Span>,
}

/// What each end's view says of where the other end was.
#[derive(Clone, Debug, Default)]
struct Heard {
    by_client: Places,
    by_server: Places,
}

/// Nodes where an end was when the other end saw the edge.
#[derive(Clone, Debug, Default)]
struct Places {
    /// Each node once, in the order of their numbers. Most edges have one or two, so that maps would be mostly empty; those
    /// of a workload with a pod on every node have as many as there are nodes.
    spans: Vec<Stay>,
    /// Some record does not say when, or on which node.
    vague: bool,
}

/// When an end was on a node. There is one for each edge and node, so that it is kept small.
#[derive(Clone, Copy, Debug)]
struct Stay {
    node: u32,
    from: Packed,
    to: Packed,
}

/// A time in twelve bytes instead of sixteen: the halves of its second, the higher one first, and its nanosecond.
#[derive(Clone, Copy, Debug)]
struct Packed([i32; 3]);

impl Watches {
    /// Takes in what a record says of an edge.
    pub(super) fn note(
        &mut self,
        id: &Arc<EdgeId>,
        mark: &Mark,
        record: &FlowRecord,
        outcome: Outcome,
    ) {
        if let (Some(observer), Some(view), Some(span)) =
            (&record.observer, record.view, record.span())
        {
            self.saw(observer, own_end(id, view), view, span);
        }
        if !may_carry(outcome) {
            return;
        }
        let opaque = matches!(id.server, Peer::External(_) | Peer::Node(_));
        if opaque && record.view == Some(View::Client) {
            let key = (id.client.clone(), id.protocol);
            widen(&mut self.veiled, key, when(record));
        }
        if outcome == Outcome::Unknown {
            return;
        }
        let (nodes, absent, told) = match record.view {
            Some(View::Client) => (&mark.server_nodes, &id.server, &record.server),
            Some(View::Server) => (&mark.client_nodes, &id.client, &record.client),
            None => return,
        };
        if !matches!(absent, Peer::Workload(_)) {
            return;
        }
        // Which of its pods it was, and so where, is not told of an end that is named as a workload.
        let span = record
            .span()
            .filter(|_| record.observer.is_some() && !matches!(told, Endpoint::Workload(_)));
        let nodes = numbers(&mut self.nodes, nodes);
        let heard = self.heard.entry(Arc::clone(id)).or_default();
        let places = match record.view {
            Some(View::Client) => &mut heard.by_client,
            _ => &mut heard.by_server,
        };
        places.add(nodes, span);
    }

    /// Takes in a record of which an end cannot be told.
    pub(super) fn note_unresolved(&mut self, record: &FlowRecord, outcome: Outcome) {
        if !may_carry(outcome) {
            return;
        }
        let views = [View::Client, View::Server];
        let of = |view: &View| record.view.is_none_or(|own| own == *view);
        for view in views.into_iter().filter(of) {
            let key = (record.observer.clone(), view, record.protocol);
            widen(&mut self.unresolved, key, when(record));
        }
    }

    /// Writes down which ends of every edge were watched.
    pub(super) fn judge(&self, graph: &mut FlowGraph) {
        let masqueraded = masqueraded(graph);
        for (id, evidence) in &mut graph.edges {
            let Some(Heard {
                by_client,
                by_server,
            }) = self.heard.get(id)
            else {
                continue;
            };
            let protocol = id.protocol;
            evidence.client_watched = self.watched(&id.client, View::Client, by_server)
                && !self.is_veiled(&id.client, protocol, by_server)
                && !self.is_unresolved(View::Client, protocol, by_server);
            evidence.server_watched = self.watched(&id.server, View::Server, by_client)
                && !masqueraded.contains(&(id.server.clone(), protocol, id.port))
                && !self.is_unresolved(View::Server, protocol, by_client);
        }
    }

    /// Whether every node where a server may have been had an agent when the client saw the edge; nothing if the
    /// records do not tell.
    pub(super) fn had_agents(&self, id: &EdgeId) -> Option<bool> {
        let places = &self.heard.get(id)?.by_client;
        if places.vague || places.spans.is_empty() {
            return None;
        }
        let had_agent = |stay: &Stay| {
            let times = self.name(stay).and_then(|node| self.observers.get(node));
            let mut times = times.into_iter().flatten();
            times.any(|time| covers(widened(*time, SLACK), stay.span()))
        };
        Some(places.spans.iter().all(had_agent))
    }

    fn is_veiled(&self, client: &Peer, protocol: Protocol, places: &Places) -> bool {
        let veiled = self.veiled.get(&(client.clone(), protocol));
        let veiled = veiled.map(|span| widened(*span, SLACK));
        veiled.is_some_and(|veiled| {
            let mut stays = places.spans.iter();
            stays.any(|stay| meets(veiled, stay.span()))
        })
    }

    fn is_unresolved(&self, view: View, protocol: Protocol, places: &Places) -> bool {
        if self.unresolved.is_empty() {
            return false;
        }
        let on = |observer: Option<&str>, span: Span| {
            let key = (observer.map(str::to_owned), view, protocol);
            let unresolved = self.unresolved.get(&key);
            unresolved.is_some_and(|unresolved| meets(widened(*unresolved, SLACK), span))
        };
        let mut stays = places.spans.iter();
        stays.any(|stay| on(self.name(stay), stay.span()) || on(None, stay.span()))
    }

    /// The name of a node where an end was.
    fn name(&self, stay: &Stay) -> Option<&str> {
        let name = self.nodes.get_index(stay.node as usize)?;
        Some(name)
    }

    fn saw(&mut self, observer: &str, own: &Peer, view: View, span: Span) {
        match self.observers.get_mut(observer) {
            Some(spans) => insert(spans, span),
            None => {
                self.observers.insert(observer.to_owned(), vec![span]);
            }
        }
        let Some(interfaces) = self.interfaces_of(own, observer) else {
            let new = Interfaces {
                any: span,
                as_server: (view == View::Server).then_some(span),
            };
            let workload = self.interfaces.entry(own.clone()).or_default();
            workload.insert(observer.to_owned(), new);
            return;
        };
        interfaces.any = join(interfaces.any, span);
        if view == View::Server {
            let known = interfaces.as_server.unwrap_or(span);
            interfaces.as_server = Some(join(known, span));
        }
    }

    fn interfaces_of(&mut self, own: &Peer, observer: &str) -> Option<&mut Interfaces> {
        self.interfaces.get_mut(own)?.get_mut(observer)
    }

    /// Whether an end was watched wherever and whenever the other end saw the edge.
    ///
    /// The latest that an end's observer told may be older than what the other's did; so its own times are not widened.
    /// What leaves a pod is seen on every interface that is watched. What comes to it may bypass one (see
    /// [`crate::observe::ObservedEdge::one_sided`]), unless that was seen to be not so.
    fn watched(&self, end: &Peer, as_what: View, places: &Places) -> bool {
        let Some(interfaces) = self.interfaces.get(end) else {
            return false;
        };
        let watched_on = |stay: &Stay| {
            let Some(node) = self.name(stay) else {
                return false;
            };
            let Some(own) = interfaces.get(node) else {
                return false;
            };
            let seen = match as_what {
                View::Client => Some(own.any),
                View::Server => own.as_server,
            };
            let span = stay.span();
            let near = seen.is_some_and(|seen| meets(widened(seen, SILENCE), span));
            let mut times = self.observers.get(node).into_iter().flatten();
            near && times.any(|time| covers(*time, span))
        };
        !places.vague && !places.spans.is_empty() && places.spans.iter().all(watched_on)
    }
}

impl Places {
    fn add(&mut self, nodes: Vec<u32>, span: Option<Span>) {
        let Some(span) = span.filter(|_| !nodes.is_empty()) else {
            self.vague = true;
            return;
        };
        for node in nodes {
            match self.spans.binary_search_by_key(&node, |stay| stay.node) {
                Ok(place) => {
                    let known = &mut self.spans[place];
                    *known = Stay::new(node, join(known.span(), span));
                }
                Err(place) => {
                    // There are many of these lists, most of which never become long.
                    if self.spans.len() == self.spans.capacity() {
                        self.spans.reserve_exact(1 + self.spans.len() / 4);
                    }
                    self.spans.insert(place, Stay::new(node, span));
                }
            }
        }
    }
}

impl Stay {
    fn new(node: u32, (from, to): Span) -> Self {
        Self {
            node,
            from: from.into(),
            to: to.into(),
        }
    }

    fn span(&self) -> Span {
        (self.from.into(), self.to.into())
    }
}

impl From<Timestamp> for Packed {
    fn from(time: Timestamp) -> Self {
        let second = time.as_second();
        #[expect(clippy::cast_possible_truncation, reason = "the lower half of it")]
        let halves = ((second >> 32) as i32, second as i32);
        Self([halves.0, halves.1, time.subsec_nanosecond()])
    }
}

impl From<Packed> for Timestamp {
    fn from(Packed([high, low, nanosecond]): Packed) -> Self {
        let second = i64::from(high) << 32 | i64::from(low.cast_unsigned());
        // It was packed from a time, so that it is one.
        Self::new(second, nanosecond).unwrap_or_default()
    }
}

/// The numbers of nodes, which those that were not known get now.
fn numbers(known: &mut IndexSet<String, FixedState>, names: &BTreeSet<String>) -> Vec<u32> {
    let mut number = |name: &String| match known.get_index_of(name) {
        Some(number) => number,
        None => known.insert_full(name.clone()).0,
    };
    let numbers = names.iter().map(&mut number);
    numbers
        .filter_map(|number| u32::try_from(number).ok())
        .collect()
}

/// Ports of workloads to which nodes, or others from outside, were seen to come: any client may stand behind them.
fn masqueraded(graph: &FlowGraph) -> BTreeSet<(Peer, Protocol, u16)> {
    let veiled = graph.edges.iter().filter(|(id, evidence)| {
        !matches!(id.client, Peer::Workload(_)) && evidence.server.is_some()
    });
    veiled
        .map(|(id, _)| (id.server.clone(), id.protocol, id.port))
        .collect()
}

fn own_end(id: &EdgeId, view: View) -> &Peer {
    match view {
        View::Client => &id.client,
        View::Server => &id.server,
    }
}

/// Adds a span; those that are not apart by more than [`SILENCE`] become one.
fn insert(spans: &mut Vec<Span>, span: Span) {
    let from = spans.partition_point(|known| known.1 < widened(span, SILENCE).0);
    let to = spans.partition_point(|known| known.0 <= widened(span, SILENCE).1);
    let joined = spans[from..to]
        .iter()
        .fold(span, |all, known| join(all, *known));
    spans.splice(from..to, [joined]);
}

/// Whether something may have come of it.
fn may_carry(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Refused | Outcome::Unanswered)
}

/// When a record may have been seen.
fn when(record: &FlowRecord) -> Span {
    record.span().unwrap_or((Timestamp::MIN, Timestamp::MAX))
}

fn widen<K: Ord>(spans: &mut BTreeMap<K, Span>, key: K, span: Span) {
    let known = spans.entry(key).or_insert(span);
    *known = join(*known, span);
}

fn join(one: Span, other: Span) -> Span {
    (one.0.min(other.0), one.1.max(other.1))
}

fn meets(one: Span, other: Span) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

/// Whether the first or the last sight lies within a time: then there was something to be seen in it.
fn covers(time: Span, sights: Span) -> bool {
    let within = |at: Timestamp| time.0 <= at && at <= time.1;
    within(sights.0) || within(sights.1)
}

fn widened((from, to): Span, by: SignedDuration) -> Span {
    (
        from.saturating_sub(by).unwrap_or(Timestamp::MIN),
        to.saturating_add(by).unwrap_or(Timestamp::MAX),
    )
}
