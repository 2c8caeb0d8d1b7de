//! From the ledger to flow records: one per edge, view, hour and outcome.

use jiff::Timestamp;
use netpol_common::abi::Direction;
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol, View};

use super::outcome::{Circumstances, Growth, judge};
use super::{Curve, EpochLedger, Interface, Ledger, Point};
use crate::graph::Resolve;
use crate::identity::{Resolution, Sighting, Unresolved};
use crate::observe::ObservedKey;

/// One hour, in microseconds: the window of a record.
const WINDOW: i64 = 3_600_000_000;
/// How long an attempt may wait for its answer, in microseconds.
const PENDING: i64 = 30_000_000;

/// Hands every record to `each`, in an order that depends on the ledger alone. `now` is what outcomes are judged
/// against: the time of the latest batch. Where an address changed hands within a window, `resolve` tells, and the
/// window is told in parts.
pub fn records(
    ledger: &Ledger,
    now: Timestamp,
    resolve: &dyn Resolve,
    each: &mut dyn FnMut(FlowRecord),
) {
    for observer in ledger.observers.keys() {
        records_of(ledger, observer, now, resolve, each);
    }
}

/// As [`records`], of one observer.
pub fn records_of(
    ledger: &Ledger,
    observer: &str,
    now: Timestamp,
    resolve: &dyn Resolve,
    each: &mut dyn FnMut(FlowRecord),
) {
    let told = ledger.observers.get(observer);
    for epoch in told.into_iter().flat_map(|told| told.epochs.values()) {
        let scribe = Scribe {
            ledger,
            observer,
            epoch,
            now: now.as_microsecond(),
            resolve,
        };
        for (key, curve) in epoch.edges.iter() {
            scribe.edge(&key, &curve, each);
        }
    }
}

/// Writes the records of one epoch.
pub(super) struct Scribe<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) observer: &'a str,
    pub(super) epoch: &'a EpochLedger,
    pub(super) now: i64,
    pub(super) resolve: &'a dyn Resolve,
}

impl Scribe<'_> {
    fn edge(&self, key: &ObservedKey, curve: &Curve, each: &mut dyn FnMut(FlowRecord)) {
        let Some(interface) = self.epoch.interfaces.get(&key.interface) else {
            return;
        };
        let template = self.template(key, interface);
        let stretches = self.stretches(curve, &template);
        let growth: Vec<Growth> = stretches.iter().map(|s| s.growth(self.now)).collect();
        let of = Circumstances {
            protocol: key.protocol,
            one_sided: interface.one_sided,
        };
        for (stretch, counts) in stretches.iter().zip(judge(&growth, of)) {
            for (outcome, count) in counts {
                each(FlowRecord {
                    time: Timestamp::from_microsecond(stretch.first).ok(),
                    last_seen: Timestamp::from_microsecond(stretch.last).ok(),
                    outcome,
                    count,
                    ..template.clone()
                });
            }
        }
    }

    /// All of a record that is the same throughout an edge's life.
    pub(super) fn template(&self, key: &ObservedKey, interface: &Interface) -> FlowRecord {
        let pod = Endpoint::Pod((&interface.pod.name).into());
        let remote = Endpoint::Ip(key.remote);
        let (client, server, view) = match key.direction {
            Direction::Egress => (pod, remote, View::Client),
            Direction::Ingress => (remote, pod, View::Server),
        };
        let node = self.ledger.node_of(self.observer, key.remote);
        FlowRecord {
            time: None,
            client,
            server,
            protocol: key.protocol,
            port: key.port,
            outcome: Outcome::Unknown,
            count: 0,
            last_seen: None,
            view: Some(view),
            by_service: None,
            observer: Some(self.observer.to_owned()),
            remote_node: node.map(str::to_owned),
        }
    }

    /// The stretches that get a record of their own: hours, and parts of an hour where the address changed hands.
    fn stretches(&self, curve: &Curve, template: &FlowRecord) -> Vec<Stretch> {
        let points = differences(curve, template.protocol);
        let hours = points.chunk_by(|a, b| a.window() == b.window());
        let groups = hours.flat_map(|hour| self.groups(hour, template));
        groups.map(sum).collect()
    }

    /// Neighbours together for as long as it is clear who was meant.
    pub(super) fn groups<'s>(
        &self,
        stretches: &'s [Stretch],
        template: &FlowRecord,
    ) -> Vec<&'s [Stretch]> {
        if stretches.len() < 2 || !self.ambiguous(template, &sum(stretches)) {
            return vec![stretches];
        }
        let mut groups = Vec::new();
        let mut begin = 0;
        for end in 1..stretches.len() {
            if self.ambiguous(template, &sum(&stretches[begin..=end])) {
                groups.push(&stretches[begin..end]);
                begin = end;
            }
        }
        groups.push(&stretches[begin..]);
        groups
    }

    /// Whether more than one could be meant in that time.
    fn ambiguous(&self, template: &FlowRecord, stretch: &Stretch) -> bool {
        let span = Timestamp::from_microsecond(stretch.first)
            .ok()
            .zip(Timestamp::from_microsecond(stretch.last).ok());
        let sighting = Sighting {
            client: template.client.clone(),
            server: template.server.clone(),
            protocol: template.protocol,
            port: template.port,
            span,
            view: template.view,
        };
        matches!(
            self.resolve.resolve(&sighting),
            Resolution::Unresolved(Unresolved::Ambiguous(..))
        )
    }
}

/// What was counted between two times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) first: i64,
    pub(super) last: i64,
    attempts: u64,
    answered: u64,
    refused: u64,
    proven: bool,
}

impl Stretch {
    pub(super) fn window(&self) -> i64 {
        self.last.div_euclid(WINDOW)
    }

    fn growth(&self, now: i64) -> Growth {
        Growth {
            attempts: self.attempts,
            answered: self.answered,
            refused: self.refused,
            over: self.last.saturating_add(PENDING) <= now,
            proven: self.proven,
        }
    }
}

/// What each point adds to those before it, led by a stretch without counts for the time of the first sight.
pub(super) fn differences(curve: &Curve, protocol: Protocol) -> Vec<Stretch> {
    let mut known = Point::default();
    let mut stretches = vec![begin(curve, protocol)];
    for point in &curve.points {
        stretches.push(Stretch {
            first: point.first,
            last: point.last,
            attempts: point.attempts.saturating_sub(known.attempts),
            answered: point.answered.saturating_sub(known.answered),
            refused: point.refused.saturating_sub(known.refused),
            proven: point.answered > 0,
        });
        known.merge(point);
    }
    stretches
}

/// The first sight. What became of it is known only if everything until the first point came to the same.
fn begin(curve: &Curve, protocol: Protocol) -> Stretch {
    let first = curve.points.first().copied().unwrap_or_default();
    let all_answered = first.refused == 0
        && first.answered > 0
        && (first.answered >= first.attempts || protocol == Protocol::Udp);
    Stretch {
        first: curve.first_seen,
        last: curve.first_seen,
        attempts: 0,
        answered: 0,
        refused: 0,
        proven: all_answered,
    }
}

/// What neighbouring stretches make together.
fn sum(stretches: &[Stretch]) -> Stretch {
    let mut whole = stretches[0];
    for next in &stretches[1..] {
        whole.first = whole.first.min(next.first);
        whole.last = whole.last.max(next.last);
        whole.attempts = whole.attempts.saturating_add(next.attempts);
        whole.answered = whole.answered.saturating_add(next.answered);
        whole.refused = whole.refused.saturating_add(next.refused);
        whole.proven |= next.proven;
    }
    whole
}
