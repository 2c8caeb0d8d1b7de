//! Which replica leads: one at a time holds a Lease, and it alone writes to the Kubernetes API.
//!
//! The protocol is that of client-go's `tools/leaderelection`: a candidate does not trust the times in the Lease, which
//! are of another machine's clock. It notes on its own clock when it first saw the record as it is, and takes over only
//! if the record has not changed for the whole duration since. The holder counts from before it asked to renew, and stops
//! leading at a deadline that is shorter than the duration. So the holder has stopped before anybody takes over, as long
//! as no clock runs faster than another by more than the ratio of the two. All writes are conditional on the version that
//! was read, so that of two who take over at once one fails.

mod election;
mod lease;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::watch;

pub use election::{Action, Election, Record, Seen, decide};
pub use lease::{Options, run};

/// Whether this replica leads now. Whoever writes looks before each write.
pub type Leader = watch::Receiver<bool>;

/// The times of an election.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// How long others wait for a holder that does not renew. Whole seconds, as the Lease has it.
    pub duration: Duration,
    /// How long after asking for its last renewal the holder leads. Shorter than `duration` by more than what a write of
    /// the leader may take.
    pub deadline: Duration,
    /// How often a candidate looks and the holder renews.
    pub retry: Duration,
}

impl Default for Config {
    /// A replica that dies is replaced after 9 to 12 seconds, and what the API server needs to answer.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(9),
            deadline: Duration::from_secs(6),
            retry: Duration::from_millis(1500),
        }
    }
}

/// What a replica without rivals holds: it leads at once, and for ever.
#[must_use]
pub fn alone() -> Leader {
    watch::channel(true).1
}
