//! Thinning out: old points of an hour, and later of a day, become one, except where the address changed hands.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::edges::{Edges, Edit};
use super::records::{Scribe, Stretch, differences};
use super::{Curve, EpochLedger, Ledger, Point};
use crate::graph::Resolve;
use crate::observe::{Epoch, ObservedKey};

/// One hour and one day, in microseconds.
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// How long there is a point for each hour.
const HOURLY: i64 = 2 * DAY;

impl Ledger {
    /// Thins out the points of an observer that lie before `before`, and tells which epochs have changed. There is one for
    /// each hour then, and one for each day of what is two days older. No record changes of the younger ones, as long as
    /// `resolve` knows by then which addresses changed hands: leave it a few minutes.
    pub fn compact(
        &mut self,
        observer: &str,
        before: Timestamp,
        resolve: &dyn Resolve,
    ) -> BTreeSet<Epoch> {
        let epochs = self.observers.get(observer);
        let names = epochs.into_iter().flat_map(|told| told.epochs.keys());
        let names: Vec<Epoch> = names.cloned().collect();
        let mut changed = BTreeSet::new();
        for name in names {
            if self.compact_epoch(observer, &name, before.as_microsecond(), resolve) {
                changed.insert(name);
            }
        }
        changed
    }

    fn compact_epoch(
        &mut self,
        observer: &str,
        name: &Epoch,
        before: i64,
        resolve: &dyn Resolve,
    ) -> bool {
        // Taken out, so that the rest of the ledger can be asked meanwhile.
        let Some(mut edges) = self.edges_mut(observer, name).map(std::mem::take) else {
            return false;
        };
        let Some(rest) = self
            .observers
            .get(observer)
            .and_then(|o| o.epochs.get(name))
        else {
            return false;
        };
        let scribe = Scribe {
            ledger: self,
            observer,
            epoch: rest,
            now: before,
            resolve,
        };
        let changed = edges.edit(|key, curve| {
            let groups = mergeable(&scribe, rest, key, curve, before);
            let thinned: Vec<_> = groups.into_iter().filter(|group| group.len() > 1).collect();
            thinned.iter().for_each(|group| curve.thin(group));
            match thinned.is_empty() {
                true => Edit::Same,
                false => Edit::Changed,
            }
        });
        if let Some(place) = self.edges_mut(observer, name) {
            *place = edges;
        }
        changed
    }

    fn edges_mut(&mut self, observer: &str, name: &Epoch) -> Option<&mut Edges> {
        let told = self.observers.get_mut(observer)?;
        told.epochs.get_mut(name).map(|epoch| &mut epoch.edges)
    }
}

impl Curve {
    /// Puts one point in the place of some.
    fn thin(&mut self, group: &[Point]) {
        let Some((last, gone)) = group.split_last() else {
            return;
        };
        let mut kept = *last;
        gone.iter().for_each(|point| kept.merge(point));
        self.points.retain(|point| !gone.contains(point));
        self.merge_point(kept);
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
    let window = |last: i64| match last < before.saturating_sub(HOURLY) {
        true => last.div_euclid(DAY) * 24,
        false => last.div_euclid(HOUR),
    };
    let points = curve.points.get(1..old).unwrap_or_default();
    let alone = points
        .windows(2)
        .all(|pair| window(pair[0].last) != window(pair[1].last));
    let Some(interface) = epoch.interfaces.get(&key.interface).filter(|_| !alone) else {
        return Vec::new();
    };
    let template = scribe.template(key, interface);
    // First comes the stretch of the first sight, which is no point; the first point tells what became of it.
    let stretches = &differences(curve, key.protocol)[2..=old];
    let windows = stretches.chunk_by(|a, b| window(a.last) == window(b.last));
    let groups = windows.flat_map(|part| scribe.groups(part, &template));
    let mut points = points.iter().copied();
    let take = |group: &[Stretch]| points.by_ref().take(group.len()).collect();
    groups.map(take).collect()
}
