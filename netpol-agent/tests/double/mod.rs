//! A double of the Kubernetes API server over real HTTP: reads, watches and writes as far as netpol relies on them, with
//! faults that tests call up, and a record of every request.
//!
//! What it keeps to, each with a test in `tests/api_double.rs`: resource versions and their conflicts, server-side apply with
//! the ownership of fields, merge patches, the status subresource, deletion with preconditions, finalizers and owners,
//! generated names, terminating namespaces, watches that end in every way that they end in, TokenReview,
//! SubjectAccessReview and TokenRequest, dry runs.
//!
//! What it does not do: schemas, defaults, admission, and rights, unless a test asks for rights by tokens.

mod answer;
mod apply;
pub(crate) mod auth;
pub(crate) mod fault;
mod fields;
mod kinds;
mod list;
pub(crate) mod rights;
mod route;
mod watch;
pub(crate) mod world;
mod write;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch::Sender;

use fault::Fault;
use world::{Key, Request, World, key};

/// A running server. It stops when it is dropped.
pub(crate) struct ApiServer {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

/// What the handlers of all requests share.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// Tells whoever waits that something may have changed.
    changed: Sender<u64>,
}

impl ApiServer {
    /// A server with the objects of a text of YAML documents.
    pub(crate) async fn start(text: &str) -> Self {
        Self::start_with(text, Router::new()).await
    }

    /// The same with routes of a test's own, which come first.
    pub(crate) async fn start_with(text: &str, own: Router) -> Self {
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            changed: Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound address");
        let routes = Router::new()
            .fallback(route::handle)
            .with_state(Arc::clone(&shared))
            .merge(own);
        let task = tokio::spawn(async move {
            let served: Result<(), io::Error> = axum::serve(listener, routes).await;
            served.expect("the server runs until it is dropped");
        });
        let server = Self {
            address,
            shared,
            task,
        };
        server.apply_text(text);
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of this server.
    pub(crate) fn client(&self) -> kube::Client {
        let config = kube::Config::new(self.url().parse().expect("a URL"));
        kube::Client::try_from(config).expect("a client for plain HTTP")
    }

    /// A client of this server that shows a token.
    pub(crate) fn client_with(&self, token: &str) -> kube::Client {
        let mut config = kube::Config::new(self.url().parse().expect("a URL"));
        config.auth_info.token = Some(token.to_owned().into());
        kube::Client::try_from(config).expect("a client for plain HTTP")
    }

    /// A kubeconfig with one context `test`, whose user shows a token.
    pub(crate) fn kubeconfig(&self, token: &str) -> String {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url()}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        format!("{config:#}\n")
    }

    /// What the server holds; see [`World`].
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Creates or changes an object as it is, behind everybody's back: nobody's fields and rights are looked at.
    pub(crate) fn apply(&self, object: Value) {
        self.world().put(object);
        self.announce();
    }

    /// Changes an object, if it is there and `change` changes anything.
    pub(crate) fn change(&self, place: (&str, &str, &str), change: impl FnOnce(&mut Value)) {
        let mut world = self.world();
        let Some(known) = world.get(place.0, place.1, place.2).cloned() else {
            return;
        };
        let mut object = known.clone();
        change(&mut object);
        if object != known {
            world.put(object);
        }
        drop(world);
        self.announce();
    }

    /// Creates or changes the objects of a text.
    pub(crate) fn apply_text(&self, text: &str) {
        objects(text)
            .into_iter()
            .for_each(|object| self.apply(object));
    }

    /// Takes an object away at once, without looking at finalizers or what it owns.
    pub(crate) fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let removed = self.world().take(plural, namespace, name);
        removed.expect("the object is there");
        self.announce();
    }

    /// Everything of that plural, in the order of namespaces and names.
    pub(crate) fn all(&self, plural: &str) -> Vec<Value> {
        self.world().all(plural)
    }

    /// The object of that name; null if there is none.
    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Value {
        let found = self.world().get(plural, namespace, name).cloned();
        found.unwrap_or_default()
    }

    /// Plural, namespace and name of every object.
    pub(crate) fn names(&self) -> BTreeSet<Key> {
        let world = self.world();
        world.everything().map(|(key, _)| key.clone()).collect()
    }

    /// Does what the controller of namespaces does: whatever is in those that are going goes, and then they.
    pub(crate) fn finish_namespaces(&self) {
        let mut world = self.world();
        let going = world.all("namespaces").into_iter();
        let going = going.filter(|it| !it["metadata"]["deletionTimestamp"].is_null());
        let going: Vec<Key> = going.map(|it| key(&it)).collect();
        for (plural, nowhere, name) in going {
            let within = world.everything().map(|(key, _)| key);
            let within: Vec<Key> = within.filter(|key| key.1 == name).cloned().collect();
            for (plural, namespace, name) in within {
                let _gone = world.take(&plural, &namespace, &name);
            }
            let _gone = world.take(&plural, &nowhere, &name);
        }
        drop(world);
        self.announce();
    }

    /// Misbehaves from now on.
    pub(crate) fn misbehave(&self, fault: Fault) {
        self.world().faults.push(fault);
    }

    /// Sends a bookmark to every open watch of a plural.
    pub(crate) fn bookmark(&self, plural: &str, kind: (&str, &str)) {
        let bookmark = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {}});
        self.world().emit("BOOKMARK", plural, bookmark);
        self.announce();
    }

    /// Forgets all events and list snapshots so far: old versions and `continue` tokens are 410 from now on.
    pub(crate) fn forget(&self) {
        self.world().forget();
    }

    /// Breaks every open watch in the middle of a line.
    pub(crate) fn break_watches(&self) {
        self.world().breaks += 1;
        self.announce();
    }

    /// How many requests of that sort came for a plural; see [`Request::sort`].
    pub(crate) fn count(&self, plural: &str, sort: &str) -> usize {
        let world = self.world();
        let same = |request: &&Request| request.plural == plural && request.sort == sort;
        world.requests.iter().filter(same).count()
    }

    /// The requests so far that were meant to change something.
    pub(crate) fn writes(&self) -> Vec<Request> {
        let world = self.world();
        let writes = world.requests.iter().filter(|request| request.is_write());
        writes.cloned().collect()
    }

    /// Wakes what waits: open watches, and pages that are held.
    pub(crate) fn announce(&self) {
        self.shared.announce();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .expect("no test panics with the lock held")
    }

    fn announce(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Every object of a text of YAML documents, lists taken apart.
fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    documents.into_iter().flat_map(apart).collect()
}

fn apart(mut document: Value) -> Vec<Value> {
    if document.is_null() {
        return Vec::new();
    }
    let (version, kind) = (document["apiVersion"].clone(), document["kind"].clone());
    let Value::Array(items) = document["items"].take() else {
        document.as_object_mut().expect("an object").remove("items");
        return vec![document];
    };
    let kind = kind
        .as_str()
        .and_then(|kind| kind.strip_suffix("List"))
        .unwrap_or_default();
    let complete = |mut item: Value| {
        if !kind.is_empty() {
            item["apiVersion"] = version.clone();
            item["kind"] = kind.into();
        }
        item
    };
    items.into_iter().map(complete).collect()
}
