//! Whether what is made of the ledger and the index has to be made anew.

use std::time::{Duration, Instant};

use super::handle::Handle;

/// How long after the last news outcomes may still change: an attempt is unanswered after 30 s.
const SETTLE: Duration = Duration::from_secs(60);

/// What was there when something was last made.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    news: u64,
    index: u64,
    /// Until when it may change without further news.
    unsettled: Instant,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            news: 0,
            index: 0,
            unsettled: Instant::now() + SETTLE,
        }
    }
}

impl Changes {
    /// Whether anything may have changed since [`Changes::note`].
    #[must_use]
    pub fn any(&mut self, handle: &Handle) -> bool {
        let news = handle.news();
        if news != self.news {
            self.news = news;
            self.unsettled = Instant::now() + SETTLE;
        }
        handle.revision() != self.index || Instant::now() < self.unsettled
    }

    /// Remembers the [`Handle::revision`] that something was made of: the one before the index was read.
    pub fn note(&mut self, index: u64) {
        self.index = index;
    }
}
