//! Saying how the observer stands.

use super::Observer;
use crate::kernel::MapKind;
use crate::node::interfaces::Verdict;
use crate::node::report::Report;
use crate::observe::Losses;

impl Observer {
    /// How it stands.
    pub(super) fn report(&self) -> Report {
        let living = || {
            let interfaces = self.books.interfaces.iter();
            interfaces.filter(|interface| !interface.is_dead())
        };
        let bound = living()
            .filter(|interface| interface.bound.is_some())
            .count();
        let (learned, parked) = self.edges();
        let account = &self.books.account;
        let sizes = &self.options.kernel;
        let slots = self.books.interfaces.iter();
        Report {
            mechanism: self.options.mechanism,
            attached: self.attacher.attached().len(),
            refused: self.refused.count(),
            bound,
            unbound: living().count() - bound,
            one_sided: living().filter(|interface| interface.one_sided).count(),
            learned,
            parked,
            maps: [
                ("edges", account.live(MapKind::Edges), sizes.edges),
                ("attempts", account.live(MapKind::Attempts), sizes.attempts),
            ],
            walked: self.walked,
            counters: self.kernel.counters().ok(),
            losses: self.all_losses(),
            slots_lost: slots.map(|interface| interface.lost.slots).sum(),
        }
    }

    /// How many edges and attempts are learned, and how many are parked.
    fn edges(&self) -> (usize, usize) {
        let mut counts = (0, 0);
        for (key, entry) in self.books.account.iter() {
            match self.books.interfaces.verdict(key) {
                _ if entry.is_blank() => {}
                Verdict::Learn => counts.0 += 1,
                Verdict::Park => counts.1 += 1,
                Verdict::Foreign | Verdict::NotForPod | Verdict::Beyond => {}
            }
        }
        counts
    }

    fn all_losses(&self) -> Losses {
        let mut all = Losses::default();
        for told in self.books.losses() {
            let losses = told.losses;
            all.edges_lost += losses.edges_lost;
            all.edges_recovered += losses.edges_recovered;
            all.attempts_lost += losses.attempts_lost;
            all.attempts_recovered += losses.attempts_recovered;
            all.foreign += losses.foreign;
            all.not_for_pod += losses.not_for_pod;
            all.observation_gap |= losses.observation_gap;
        }
        all
    }
}
