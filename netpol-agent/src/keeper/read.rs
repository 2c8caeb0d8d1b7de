//! Flow records out of the ledger, observer by observer, so that commits never wait long.

use std::io;

use jiff::Timestamp;
use netpol_common::record::FlowRecord;

use super::handle::Handle;
use super::lasting::lasting;
use crate::flows;
use crate::identity::Index;
use crate::ledger::{self, Ledger};

impl Handle {
    /// The observers that ever told anything, in the order of their names.
    #[must_use]
    pub fn observers(&self) -> Vec<String> {
        self.ledger().observers.keys().cloned().collect()
    }

    /// The latest time of any batch: what outcomes are judged against.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.ledger().time()
    }

    /// What one observer told, as flow records whose ends outlive their pods. `now` is what outcomes are judged
    /// against: [`Handle::time`].
    #[must_use]
    pub fn records_of(&self, observer: &str, now: Timestamp) -> Vec<FlowRecord> {
        let mut records = Vec::new();
        self.with(|ledger, index| {
            ledger::records_of(ledger, observer, now, index, &mut |record| {
                records.push(lasting(record, index));
            });
        });
        records
    }

    /// Writes every flow record as a line. Returns how many there are. What is committed meanwhile may be in it or not.
    ///
    /// # Errors
    ///
    /// Whatever `to` reports.
    pub fn write_records(&self, to: &mut impl io::Write) -> io::Result<usize> {
        let now = self.time().unwrap_or(Timestamp::UNIX_EPOCH);
        let mut lines = 0;
        for observer in self.observers() {
            let records = self.records_of(&observer, now);
            lines += records.len();
            flows::write(to, records)?;
        }
        Ok(lines)
    }

    /// Reads the ledger and the index. Whoever changes them waits meanwhile.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Ledger, &Index) -> T) -> T {
        // In the order that the keeper's thread has.
        let ledger = self.ledger();
        let index = self.index().read();
        read(&ledger, &index)
    }
}
