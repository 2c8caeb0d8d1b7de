//! Where batches go.

use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

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

/// A batch on its way within the process, and where to acknowledge it: by `true`.
#[derive(Debug)]
pub struct Delivery {
    /// The batch.
    pub batch: Arc<Batch>,
    /// Told `true` once the batch is durable, `false` if it cannot be made so.
    pub acknowledge: oneshot::Sender<bool>,
}

/// Delivers to a thread of this process.
#[derive(Clone, Debug)]
pub struct ToThread(pub mpsc::Sender<Delivery>);

impl Deliver for ToThread {
    async fn deliver(&self, batch: Arc<Batch>) -> Result<(), Undelivered> {
        let (acknowledge, acknowledged) = oneshot::channel();
        let delivery = Delivery { batch, acknowledge };
        self.0.send(delivery).map_err(|_| Undelivered)?;
        match acknowledged.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Undelivered),
        }
    }
}
