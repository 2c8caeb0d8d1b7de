//! Walks, and the deletions that they make possible.

use std::collections::BTreeSet;

use jiff::Timestamp;
use netpol_common::abi::EdgeKey;
use tracing::{info, warn};

use super::Observer;
use super::telling::Which;
use crate::kernel::{KernelError, MapKind};
use crate::node::account::Cell;
use crate::node::books::Books;
use crate::node::clock::{Sample, kernel_now};
use crate::node::interfaces::{Dropped, Verdict, is_recovered};
use crate::node::journal::JournalError;
use crate::node::retire::{Capacity, Plan, plan};

impl Observer {
    /// Brings the books up to date, and deletes what is idle.
    pub(super) fn round(&mut self) {
        self.sample_clock();
        self.read_losses();
        match self.walk() {
            Ok(()) => {
                self.walked = Some(Timestamp::now());
                self.retire();
            }
            Err(error) => warn!(node = self.name(), "cannot read edges: {error}"),
        }
        self.finish_dead();
        self.bind_parked();
        self.is_news = true;
    }

    pub(super) fn sample_clock(&mut self) {
        if let Some(step) = self.books.clock.sample(Sample::now()) {
            info!(node = self.name(), "the wall clock was stepped by {step}");
        }
    }

    /// Reads both maps.
    pub(super) fn walk(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let Self {
            kernel,
            books,
            journal,
            ..
        } = self;
        #[cfg(debug_assertions)]
        kernel.flush_log();
        let mut unread: Option<JournalError> = None;
        for map in [MapKind::Edges, MapKind::Attempts] {
            kernel.walk(map, |key, value| {
                if let Err(error) = books.account.observe(map, key, &value, journal) {
                    unread.get_or_insert(error);
                }
            })?;
        }
        unread.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Reads what the kernel could not keep of each living interface.
    fn read_losses(&mut self) {
        let living = self
            .books
            .interfaces
            .iter()
            .filter(|interface| !interface.is_dead());
        let living: Vec<_> = living
            .map(|interface| (interface.handle, interface.ifindex))
            .collect();
        for (handle, ifindex) in living {
            self.read_losses_of(handle, ifindex);
        }
    }

    pub(super) fn read_losses_of(&mut self, handle: u32, ifindex: u32) {
        let stats = match self.kernel.stats(ifindex) {
            Ok(stats) => stats,
            Err(error) => return warn!(node = self.options.node.name, ifindex, "{error}"),
        };
        if let Some(interface) = self.books.interfaces.get_mut(handle) {
            interface.lost = interface.lost.later(&stats);
        }
    }

    fn retire(&mut self) {
        let size = |entries: u32| usize::try_from(entries).unwrap_or(usize::MAX);
        let capacity = Capacity {
            edges: size(self.options.kernel.edges),
            attempts: size(self.options.kernel.attempts),
            quota: size(self.options.quota),
            hurry: u64::from(self.options.hurry),
        };
        let Books {
            account,
            interfaces,
            ..
        } = &self.books;
        let plan = plan(account, interfaces, kernel_now(), capacity);
        if !plan.is_empty()
            && let Err(error) = self.delete(&plan)
        {
            warn!(
                node = self.name(),
                "idle edges stay in the kernel's maps: {error}"
            );
        }
    }

    /// Deletes in the order that makes a crash harmless: durable first, then deleted.
    fn delete(&mut self, plan: &Plan) -> Result<(), Box<dyn std::error::Error>> {
        self.journal.carry(&plan.delivered)?;
        let mut raced = Vec::new();
        for (map, key, cell) in &plan.delivered {
            let last = self.kernel.delete(*map, key)?;
            let changed = self.books.account.deleted(*map, key, last.as_ref());
            self.count_unanswered(*map, key, cell);
            let answered = last.map_or(cell.value.answered, |value| value.answered);
            self.count_recovered(*map, key, Verdict::Learn, answered);
            raced.extend(changed.map(|cell| (*map, *key, cell)));
        }
        self.journal.carry(&raced)?;
        let touched: BTreeSet<u32> = plan
            .delivered
            .iter()
            .map(|(_, key, _)| key.interface)
            .collect();
        touched
            .into_iter()
            .for_each(|handle| self.keep_interface(handle));
        self.drop_unlearned(plan)?;
        Ok(())
    }

    /// Counts a never-answered edge of which the store will be reminded no more.
    fn count_unanswered(&mut self, map: MapKind, key: &EdgeKey, cell: &Cell) {
        let unanswered = map == MapKind::Attempts && cell.is_first() && cell.value.answered == 0;
        let interface = self.books.interfaces.get_mut(key.interface);
        if let Some(interface) = interface.filter(|_| unanswered) {
            interface.unanswered += 1;
        }
    }

    /// Counts an entry that is deleted and stood for an edge which was taken for lost.
    fn count_recovered(&mut self, map: MapKind, key: &EdgeKey, verdict: Verdict, answered: u64) {
        if let Some(interface) = self.books.interfaces.get_mut(key.interface) {
            interface.recovered += u64::from(is_recovered(map, verdict, answered));
        }
    }

    fn drop_unlearned(&mut self, plan: &Plan) -> Result<(), KernelError> {
        let mut touched = BTreeSet::new();
        for (map, key, verdict) in &plan.unlearned {
            let last = self.kernel.delete(*map, key)?;
            self.books.account.discard(*map, key);
            let last = last.unwrap_or_default();
            self.count_recovered(*map, key, *verdict, last.answered);
            if let Some(interface) = self.books.interfaces.get_mut(key.interface) {
                interface.dropped.add(*verdict, last.attempts);
                touched.insert(key.interface);
            }
        }
        touched
            .into_iter()
            .for_each(|handle| self.keep_interface(handle));
        Ok(())
    }

    /// Forgets dead interfaces of which everything was delivered.
    fn finish_dead(&mut self) {
        let dead = self
            .books
            .interfaces
            .iter()
            .filter(|interface| interface.is_dead());
        let dead: Vec<u32> = dead.map(|interface| interface.handle).collect();
        for handle in dead {
            if self.books.is_finished(handle) && self.outbox.is_finished(&self.books, handle) {
                self.forget(handle);
            }
        }
    }

    fn forget(&mut self, handle: u32) {
        self.tell_of(handle, Which::News);
        self.teller.forget(handle);
        let removed = self.books.interfaces.remove(handle);
        self.books.seeds.remove(handle);
        self.outbox.forget(handle);
        if let Some(interface) = removed.filter(|interface| interface.dropped.parked > 0) {
            let Dropped { parked, .. } = interface.dropped;
            if interface.bound.is_none() {
                info!(
                    node = self.name(),
                    interface = interface.name,
                    edges = parked,
                    "dropped the edges of an interface behind which no pod was found"
                );
            }
        }
        if let Err(error) = self.journal.remove_interface(handle) {
            warn!(node = self.name(), "{error}");
        }
    }

    /// Keeps an interface as it stands; if that fails, the next change will.
    pub(super) fn keep_interface(&mut self, handle: u32) {
        let Some(interface) = self.books.interfaces.get(handle) else {
            return;
        };
        if let Err(error) = self.journal.put_interface(interface) {
            warn!(node = self.options.node.name, "{error}");
        }
    }
}

impl Dropped {
    /// Counts an entry that was deleted unlearned, and the attempts it held.
    fn add(&mut self, verdict: Verdict, attempts: u64) {
        match verdict {
            Verdict::Foreign => self.foreign += attempts,
            Verdict::NotForPod => self.not_for_pod += attempts,
            Verdict::Beyond => self.beyond += attempts,
            Verdict::Park | Verdict::Learn => self.parked += 1,
        }
    }
}
