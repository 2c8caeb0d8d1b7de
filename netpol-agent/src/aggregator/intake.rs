//! Where batches go once they are found to be good.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::keeper::Handle;
use crate::observe::{Batch, Epoch};
use crate::trouble::chain;

/// Keeps batches.
pub trait Intake: Debug + Send + Sync {
    /// Makes batches durable, all of them or none; tells why, if it cannot. Batches that come again change nothing.
    fn commit(&self, batches: Vec<Arc<Batch>>) -> BoxFuture<'_, Result<(), String>>;

    /// The highest number of a batch that is durable of an observer, by epoch.
    fn sequences(&self, observer: &str) -> BTreeMap<Epoch, u64>;
}

impl Intake for Handle {
    fn commit(&self, batches: Vec<Arc<Batch>>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let kept = Self::commit(self, batches).await;
            kept.map_err(|error| chain(&error))
        })
    }

    fn sequences(&self, observer: &str) -> BTreeMap<Epoch, u64> {
        Self::sequences(self, observer)
    }
}
