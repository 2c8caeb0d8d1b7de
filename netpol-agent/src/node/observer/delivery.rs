//! Batches on their way, without the loop waiting for them.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::Observer;
use crate::node::clock::Sample;
use crate::node::deliver::{Deliver, Undelivered};
use crate::node::outbox::{Moment, Urgency};

/// The pause before a batch is delivered again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a stop waits for what is left to be acknowledged. What is not is delivered by the next process.
const PATIENCE: Duration = Duration::from_secs(10);

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + 'a>>;

/// The delivery that is under way, if any.
pub(super) struct UnderWay<'a> {
    attempt: Option<Attempt<'a>>,
    failures: u32,
}

impl<'a> UnderWay<'a> {
    /// Nothing is under way.
    pub(super) fn idle() -> Self {
        Self {
            attempt: None,
            failures: 0,
        }
    }

    /// Begins to deliver what is due, unless a batch is under way.
    pub(super) fn begin(&mut self, observer: &mut Observer, deliver: &'a impl Deliver) {
        if self.attempt.is_none() && std::mem::take(&mut observer.is_news) {
            self.start(observer, deliver, Urgency::Due);
        }
    }

    /// Waits for the outcome; for ever if nothing is under way.
    pub(super) async fn wait(&mut self) -> Result<(), Undelivered> {
        match &mut self.attempt {
            Some(attempt) => attempt.await,
            None => std::future::pending().await,
        }
    }

    /// Takes in the outcome.
    pub(super) fn end(&mut self, observer: &mut Observer, outcome: Result<(), Undelivered>) {
        self.attempt = None;
        observer.is_news = true;
        match outcome {
            Ok(()) => {
                self.failures = 0;
                observer.outbox.acknowledged(&mut observer.books);
            }
            Err(Undelivered) => self.failures = self.failures.saturating_add(1),
        }
    }

    fn start(&mut self, observer: &mut Observer, deliver: &'a impl Deliver, urgency: Urgency) {
        let now = Sample::now();
        let moment = Moment {
            kernel: now.kernel,
            wall: observer.books.clock.wall(now.kernel),
        };
        let Some(batch) = observer.outbox.fill(&observer.books, moment, urgency) else {
            return;
        };
        let pause = self.pause();
        let clock = &observer.books.clock;
        let begun = observer.journal.begin_batch(batch.sequence, clock);
        if observer.journaling.note(begun).is_none() {
            self.attempt = Some(Box::pin(async move {
                tokio::time::sleep(pause.max(FIRST_PAUSE)).await;
                Err(Undelivered)
            }));
            return;
        }
        debug!(
            node = batch.observer,
            sequence = batch.sequence,
            edges = batch.edges.len(),
            "delivering"
        );
        self.attempt = Some(Box::pin(async move {
            tokio::time::sleep(pause).await;
            deliver.deliver(batch).await
        }));
    }

    fn pause(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_PAUSE
                .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(LONGEST_PAUSE),
        }
    }
}

impl Observer {
    /// Delivers everything that is left, as far as the graph side takes it in time.
    pub(super) async fn deliver_rest<'a>(
        &mut self,
        deliver: &'a impl Deliver,
        mut under_way: UnderWay<'a>,
    ) -> Result<(), Undelivered> {
        let all = async {
            // An empty batch at the very end tells the time that outcomes are judged against.
            self.outbox.break_silence();
            // What is under way may be pausing after a failure, and may arrive twice.
            under_way = UnderWay::idle();
            loop {
                if under_way.attempt.is_none() {
                    under_way.start(self, deliver, Urgency::All);
                }
                if under_way.attempt.is_none() {
                    return;
                }
                let outcome = under_way.wait().await;
                under_way.end(self, outcome);
            }
        };
        let done = timeout(PATIENCE, all).await;
        done.map_err(|_| Undelivered)
    }
}
