//! Where batches go.

use std::sync::Arc;

use crate::keeper::Handle;
use crate::observe::Batch;

/// Takes batches to the graph side.
pub trait Deliver {
    /// Returns once the batch is durable there.
    ///
    /// # Errors
    ///
    /// [`Undelivered`]; the same batch is delivered again later.
    fn deliver(&self, batch: Arc<Batch>) -> impl Future<Output = Result<(), Undelivered>>;
}

/// A batch that is not known to be durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the batch was not acknowledged")]
pub struct Undelivered;

impl Deliver for Handle {
    /// To the keeper of this process, which says itself why it does not take batches.
    async fn deliver(&self, batch: Arc<Batch>) -> Result<(), Undelivered> {
        let kept = self.commit(vec![batch]).await;
        kept.map_err(|_| Undelivered)
    }
}
