//! One kind of object from the API server into the index.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource};
use netpol_common::names::{ObjectName, WorkloadName};
use serde::de::DeserializeOwned;

use super::Shared;
use super::backoff::Delays;
use crate::identity::objects::{Object, ObjectKey, ObjectKind};
use crate::identity::{Index, Listing};
use crate::inventory::convert::{FieldError, ToObject, owner_of_metadata};

/// Names of skipped objects remembered, so that each is logged once.
const SKIPPED: usize = 10_000;

/// What the API server sends for an object: whole, or its metadata.
pub(super) trait Item:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// The object as the index holds it, or why there is none.
    fn object(&self, kind: &ObjectKind) -> Result<Object, String>;
}

impl<K> Item for DeserializeGuard<K>
where
    K: Resource<DynamicType = ()> + ToObject + Clone + Debug + DeserializeOwned + Send + 'static,
{
    fn object(&self, _kind: &ObjectKind) -> Result<Object, String> {
        let object = self.0.as_ref().map_err(|invalid| invalid.error.clone())?;
        object
            .to_object()
            .map_err(|error: FieldError| error.to_string())
    }
}

impl<K> Item for PartialObjectMeta<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + 'static,
{
    fn object(&self, kind: &ObjectKind) -> Result<Object, String> {
        let ObjectKind::Owner(kind) = kind else {
            return Err("of this kind more than metadata is needed".to_owned());
        };
        owner_of_metadata(kind, &self.metadata).map_err(|error| error.to_string())
    }
}

/// Keeps the index up to date with one kind, for ever.
///
/// A list goes in object by object; what is not in it is taken for gone once its last page has come. The next list begins
/// anew, whatever became of this one.
pub(super) async fn feed<K: Item, N: Fn() -> Timestamp>(
    kind: ObjectKind,
    api: Api<K>,
    config: Config,
    shared: &Shared<N>,
) {
    let mut feed = Feed {
        kind,
        shared,
        listing: None,
        skipped: BTreeSet::new(),
    };
    let mut delays = Delays::new(shared.options.backoff);
    loop {
        let events = watch(api.clone(), config.clone()).backoff(delays.clone());
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => feed.take(event).await,
                Err(error) => {
                    feed.log(&error);
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

/// Whether the watcher would go on asking for a version that the server no longer has. It lists anew when the server
/// says so *within* a watch; a server or proxy that says so instead of a watch leaves it where it was.
pub(crate) fn is_stuck(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

struct Feed<'a, N> {
    kind: ObjectKind,
    shared: &'a Shared<N>,
    listing: Option<Listing>,
    skipped: BTreeSet<String>,
}

impl<N: Fn() -> Timestamp> Feed<'_, N> {
    async fn take<K: Item>(&mut self, event: Event<K>) {
        let at = (self.shared.now)();
        match event {
            Event::Init => {
                let kind = self.kind.clone();
                let begun = self
                    .shared
                    .change(|index| index.begin_list(Some(&kind)))
                    .await;
                self.listing = Some(begun);
            }
            Event::InitApply(item) => {
                let Some(object) = self.decode(&item) else {
                    return;
                };
                drop(item);
                if let Some(mut listing) = self.listing.take() {
                    let change = |index: &mut Index| {
                        index.list(&mut listing, object, at);
                        listing
                    };
                    self.listing = Some(self.shared.change(change).await);
                }
            }
            Event::InitDone => {
                if let Some(listing) = self.listing.take() {
                    self.shared
                        .change(|index| index.end_list(listing, at))
                        .await;
                }
                self.shared.listed(&self.kind);
            }
            Event::Apply(item) => {
                if let Some(object) = self.decode(&item) {
                    self.shared.change(|index| index.apply(object, at)).await;
                }
            }
            Event::Delete(item) => {
                if let Some(key) = key(&self.kind, item.meta()) {
                    self.shared.change(|index| index.delete(&key, at)).await;
                }
            }
        }
    }

    fn decode<K: Item>(&mut self, item: &K) -> Option<Object> {
        let reason = match item.object(&self.kind) {
            Ok(object) => return Some(object),
            Err(reason) => reason,
        };
        let name = item.meta().name.clone().unwrap_or_default();
        let namespace = item.meta().namespace.clone().unwrap_or_default();
        if self.skipped.len() >= SKIPPED {
            self.skipped.clear();
        }
        if self.skipped.insert(format!("{namespace}/{name}")) {
            let kind = self.kind.to_string();
            tracing::warn!(
                kind,
                namespace,
                name,
                reason,
                "object does not decode and is skipped"
            );
        }
        None
    }

    fn log(&self, error: &watcher::Error) {
        let kind = self.kind.to_string();
        let error = error as &dyn std::error::Error;
        tracing::warn!(kind, error, "watching the API server failed; it goes on");
    }
}

fn key(kind: &ObjectKind, metadata: &ObjectMeta) -> Option<ObjectKey> {
    let name = metadata.name.clone()?;
    let namespace = || metadata.namespace.clone();
    let named = || Some(ObjectName::new(namespace()?, &name));
    Some(match kind {
        ObjectKind::Namespace => ObjectKey::Namespace(name),
        ObjectKind::Node => ObjectKey::Node(name),
        ObjectKind::Pod => ObjectKey::Pod(named()?, metadata.uid.clone().unwrap_or_default()),
        ObjectKind::Service => ObjectKey::Service(named()?),
        ObjectKind::EndpointSlice => ObjectKey::EndpointSlice(named()?),
        ObjectKind::Owner(kind) => ObjectKey::Owner(WorkloadName::new(namespace()?, kind, name)),
    })
}
