//! One kind of object from the API server into a store, for ever.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use netpol_common::names::ObjectName;
use serde::de::DeserializeOwned;

use crate::watch::backoff::Delays;
use crate::watch::is_stuck;

/// Where objects of a kind go.
pub(super) trait Keep<K>: Sync {
    /// Everything that there is.
    fn reset(&self, objects: Vec<K>);
    /// One that was added or has changed.
    fn put(&self, object: K);
    /// One that is gone.
    fn forget(&self, object: &K);
}

/// Keeps a store up to date with one kind, for ever.
pub(super) async fn follow<K>(
    api: Api<K>,
    config: Config,
    backoff: (Duration, Duration),
    store: &impl Keep<K>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut delays = Delays::new(backoff);
    let mut listed = Vec::new();
    loop {
        let events = watcher(api.clone(), config.clone()).backoff(delays.clone());
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => listed.push(object),
                Ok(Event::InitDone) => store.reset(std::mem::take(&mut listed)),
                Ok(Event::Apply(object)) => store.put(object),
                Ok(Event::Delete(object)) => store.forget(&object),
                Err(error) => {
                    let kind = K::kind(&());
                    tracing::warn!(%kind, error = &error as &dyn std::error::Error, "watching the API server failed; it goes on");
                    if is_stuck(&error) {
                        break;
                    }
                }
            }
        }
        if let Some(delay) = delays.next() {
            tokio::time::sleep(delay).await;
        }
    }
}

/// Namespace and name of an object; the namespace is empty where it is in none.
pub(super) fn name_of(object: &impl Resource) -> ObjectName {
    let metadata = object.meta();
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    ObjectName::new(text(&metadata.namespace), text(&metadata.name))
}
