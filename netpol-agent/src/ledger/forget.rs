//! Letting go of what is older than anybody asks for, so that the ledger does not grow for ever.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::edges::Edit;
use super::{EpochLedger, Ledger};
use crate::observe::Epoch;

/// What became of the epochs of an observer. Others are as they were.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// Those that are gone altogether.
    pub gone: BTreeSet<Epoch>,
    /// Those that hold less than before.
    pub changed: BTreeSet<Epoch>,
}

impl Ledger {
    /// Forgets what was last seen before `before`: whole epochs, edges, and of edges that were seen since all points but
    /// the one that later counts are compared with. An edge that comes back counts from the beginning of its epoch, since
    /// that is what observers tell. An observer without epochs is gone, with the addresses of its node.
    pub fn forget(&mut self, observer: &str, before: Timestamp) -> Forgotten {
        let before = before.as_microsecond();
        let mut forgotten = Forgotten::default();
        let Some(told) = self.observers.get_mut(observer) else {
            return forgotten;
        };
        told.epochs.retain(|name, epoch| {
            let keep = epoch.time >= before;
            if !keep {
                forgotten.gone.insert(name.clone());
            } else if epoch.forget(before) {
                forgotten.changed.insert(name.clone());
            }
            keep
        });
        if told.epochs.is_empty() {
            self.observers.remove(observer);
            self.by_address.retain(|_, nodes| {
                nodes.remove(observer);
                !nodes.is_empty()
            });
        }
        forgotten
    }
}

impl EpochLedger {
    fn forget(&mut self, before: i64) -> bool {
        let mut bare = BTreeSet::new();
        let changed = self.edges.edit(|key, curve| {
            let old = curve.points.partition_point(|point| point.last < before);
            if old == curve.points.len() {
                bare.insert(key.interface);
                return Edit::Gone;
            }
            match old.saturating_sub(1) {
                0 => Edit::Same,
                most => {
                    curve.points.drain(..most);
                    Edit::Changed
                }
            }
        });
        if bare.is_empty() {
            return changed;
        }
        for (key, _) in self.edges.iter() {
            bare.remove(&key.interface);
        }
        for handle in &bare {
            self.interfaces.remove(handle);
        }
        self.losses
            .retain(|(interface, _), _| !bare.contains(interface));
        changed
    }
}
