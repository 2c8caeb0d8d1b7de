//! Letting go of what is older than anybody asks for, so that the ledger does not grow for ever.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{EpochLedger, Ledger, Point};
use crate::observe::{Epoch, ObservedKey};

/// What is gone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// Observers' epochs, with everything in them.
    pub epochs: Vec<(String, Epoch)>,
    /// Points of edges; all points of those that were not seen since.
    pub points: Vec<(String, Epoch, ObservedKey, Vec<Point>)>,
    /// Interfaces without edges since, and their losses.
    pub interfaces: Vec<(String, Epoch, u32)>,
}

impl Forgotten {
    /// Whether nothing is gone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Ledger {
    /// Forgets what was last seen before `before`: whole epochs, edges, and of edges that were seen since all points but
    /// the one that later counts are compared with. An edge that comes back counts from the beginning of its epoch, since
    /// that is what observers tell.
    pub fn forget(&mut self, before: Timestamp) -> Forgotten {
        let before = before.as_microsecond();
        let mut forgotten = Forgotten::default();
        for (observer, told) in &mut self.observers {
            told.epochs.retain(|epoch, ledger| {
                let of = (observer.as_str(), epoch);
                let keep = ledger.time >= before;
                if keep {
                    ledger.forget(before, of, &mut forgotten);
                } else {
                    forgotten.epochs.push((observer.clone(), epoch.clone()));
                }
                keep
            });
        }
        forgotten
    }
}

impl EpochLedger {
    fn forget(&mut self, before: i64, of: (&str, &Epoch), forgotten: &mut Forgotten) {
        let mut bare = BTreeSet::new();
        let place = || (of.0.to_owned(), of.1.clone());
        self.edges.retain(|key, curve| {
            let old = curve.points.partition_point(|point| point.last < before);
            let keep = old < curve.points.len();
            let most = if keep { old.saturating_sub(1) } else { old };
            let gone: Vec<Point> = curve.points.drain(..most).collect();
            if !keep {
                bare.insert(key.interface);
            }
            if !gone.is_empty() {
                let (observer, epoch) = place();
                forgotten.points.push((observer, epoch, key.clone(), gone));
            }
            keep
        });
        bare.retain(|handle| self.edges.keys().all(|key| key.interface != *handle));
        for handle in bare {
            self.interfaces.remove(&handle);
            self.losses.retain(|(interface, _), _| *interface != handle);
            let (observer, epoch) = place();
            forgotten.interfaces.push((observer, epoch, handle));
        }
    }
}
