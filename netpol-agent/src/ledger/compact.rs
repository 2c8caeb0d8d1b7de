//! Thinning out: old points of an hour become one, except where the address changed hands.

use jiff::Timestamp;

use super::records::{Scribe, Stretch, differences};
use super::{Curve, EpochLedger, Ledger, Point};
use crate::graph::Resolve;
use crate::observe::{Epoch, ObservedKey};

/// Points of one edge that became one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Thinned {
    /// The observer.
    pub observer: String,
    /// The epoch.
    pub epoch: Epoch,
    /// The edge.
    pub key: ObservedKey,
    /// When the edge was first seen, in microseconds of Unix time.
    pub first_seen: i64,
    /// The points that are gone.
    pub gone: Vec<Point>,
    /// The point that stands for them.
    pub kept: Point,
}

impl Ledger {
    /// Thins out the points before `before`, and tells what is gone. No record changes, as long as `resolve` knows
    /// by then which addresses changed hands: leave it a few minutes.
    pub fn compact(&mut self, before: Timestamp, resolve: &dyn Resolve) -> Vec<Thinned> {
        let thinned = self.plan(before.as_microsecond(), resolve);
        for thinned in &thinned {
            let observer = self.observers.get_mut(&thinned.observer);
            let epoch = observer.and_then(|o| o.epochs.get_mut(&thinned.epoch));
            if let Some(curve) = epoch.and_then(|epoch| epoch.edges.get_mut(&thinned.key)) {
                curve.thin(thinned);
            }
        }
        thinned
    }

    fn plan(&self, before: i64, resolve: &dyn Resolve) -> Vec<Thinned> {
        let mut plan = Vec::new();
        for (observer, told) in &self.observers {
            for (name, epoch) in &told.epochs {
                let scribe = Scribe {
                    ledger: self,
                    observer,
                    epoch,
                    now: before,
                    resolve,
                };
                for (key, curve) in &epoch.edges {
                    for points in mergeable(&scribe, epoch, key, curve, before) {
                        plan.extend(thinned(observer, name, (key, curve), &points));
                    }
                }
            }
        }
        plan
    }
}

impl Curve {
    fn thin(&mut self, thinned: &Thinned) {
        self.points.retain(|point| !thinned.gone.contains(point));
        self.merge_point(thinned.kept);
    }
}

/// The groups of old points that may become one each.
fn mergeable(
    scribe: &Scribe<'_>,
    epoch: &EpochLedger,
    key: &ObservedKey,
    curve: &Curve,
    before: i64,
) -> Vec<Vec<Point>> {
    let old = curve.points.partition_point(|point| point.last < before);
    let Some(interface) = epoch.interfaces.get(&key.interface).filter(|_| old > 2) else {
        return Vec::new();
    };
    let template = scribe.template(key, interface);
    // First comes the stretch of the first sight, which is no point; the first point tells what became of it.
    let stretches = &differences(curve, key.protocol)[2..=old];
    let hours = stretches.chunk_by(|a, b| a.window() == b.window());
    let groups = hours.flat_map(|hour| scribe.groups(hour, &template));
    let mut points = curve.points.iter().copied().skip(1);
    let take = |group: &[Stretch]| points.by_ref().take(group.len()).collect();
    groups.map(take).collect()
}

fn thinned(
    observer: &str,
    epoch: &Epoch,
    (key, curve): (&ObservedKey, &Curve),
    points: &[Point],
) -> Option<Thinned> {
    let (last, gone) = points.split_last()?;
    if gone.is_empty() {
        return None;
    }
    let mut kept = *last;
    gone.iter().for_each(|point| kept.merge(point));
    Some(Thinned {
        observer: observer.to_owned(),
        epoch: epoch.clone(),
        key: key.clone(),
        first_seen: curve.first_seen,
        gone: gone.to_vec(),
        kept,
    })
}
