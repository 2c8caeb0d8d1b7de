//! An API server over real HTTP, with as much of its list and watch protocol as a watcher can meet, and with faults
//! that tests call up.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// `/api/v1/pods` and the like are told apart by the plural alone: no two kinds that are watched share one.
type Key = (String, String, String);

/// A running server. It stops when it is dropped.
pub(crate) struct ApiServer {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
}

/// What the server holds, what went over its wires, and how it is to misbehave.
#[derive(Default)]
pub(crate) struct World {
    version: u64,
    objects: BTreeMap<Key, Value>,
    events: Vec<(u64, String, Value)>,
    snapshots: BTreeMap<(String, u64), Vec<Value>>,
    /// Events of this version and older are forgotten: who asks for them gets 410.
    forgotten: u64,
    /// Grows whenever all open watches are to break in the middle of a line.
    breaks: u64,
    /// Every request is answered by this status.
    pub(crate) failing: Option<u16>,
    /// Expired watches get 410 as the answer and not within the watch.
    pub(crate) plain_gone: bool,
    /// Further pages of this plural are not answered while it is set.
    pub(crate) held: Option<String>,
    /// Requests so far, as (plural, `list`, `page`, `watch` or `failed`), and bookmarks sent.
    pub(crate) requests: Vec<(String, &'static str)>,
}

impl ApiServer {
    /// A server with the objects of a text of YAML documents.
    pub(crate) async fn start(text: &str) -> Self {
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound address");
        let routes = Router::new()
            .route("/api/v1/{plural}", get(core))
            .route("/apis/{group}/{version}/{plural}", get(grouped))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let served: Result<(), io::Error> = axum::serve(listener, routes).await;
            served.expect("the server runs until it is dropped");
        });
        let server = Self {
            address,
            shared,
            task,
        };
        objects(text)
            .into_iter()
            .for_each(|object| server.apply(object));
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// A client of this server.
    pub(crate) fn client(&self) -> kube::Client {
        let url = format!("http://{}", self.address()).parse().expect("a URL");
        let config = kube::Config::new(url);
        kube::Client::try_from(config).expect("a client for plain HTTP")
    }

    /// What the server holds; see [`World`].
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared
            .world
            .lock()
            .expect("no test panics with the lock held")
    }

    /// Creates or changes an object.
    pub(crate) fn apply(&self, object: Value) {
        let mut world = self.world();
        let key = key(&object);
        let kind = if world.objects.contains_key(&key) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let object = world.emit(kind, &key.0, object);
        world.objects.insert(key, object);
        drop(world);
        self.announce();
    }

    /// Creates or changes the objects of a text.
    pub(crate) fn apply_text(&self, text: &str) {
        objects(text)
            .into_iter()
            .for_each(|object| self.apply(object));
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let mut world = self.world();
        let object = world.objects.remove(&key).expect("the object is there");
        world.emit("DELETED", plural, object);
        drop(world);
        self.announce();
    }

    /// Sends a bookmark to every open watch of a plural.
    pub(crate) fn bookmark(&self, plural: &str, kind: (&str, &str)) {
        let bookmark = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {}});
        self.world().emit("BOOKMARK", plural, bookmark);
        self.announce();
    }

    /// Forgets all events and list snapshots so far: old versions and `continue` tokens are 410 from now on.
    pub(crate) fn forget(&self) {
        let mut world = self.world();
        world.forgotten = world.version;
        world.events.clear();
        world.snapshots.clear();
    }

    /// Breaks every open watch in the middle of a line.
    pub(crate) fn break_watches(&self) {
        self.world().breaks += 1;
        self.announce();
    }

    /// How many requests of that sort came for a plural.
    pub(crate) fn count(&self, plural: &str, sort: &str) -> usize {
        let world = self.world();
        let same = |request: &&(String, &str)| request.0 == plural && request.1 == sort;
        world.requests.iter().filter(same).count()
    }

    /// Wakes what waits: open watches, and pages that are held.
    pub(crate) fn announce(&self) {
        self.shared.changed.send_modify(|count| *count += 1);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    fn emit(&mut self, kind: &str, plural: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let event = json!({"type": kind, "object": object});
        self.events.push((self.version, plural.to_owned(), event));
        object
    }

    fn matching(&self, plural: &str, query: &BTreeMap<String, String>) -> Vec<Value> {
        let of = self.objects.iter().filter(|((own, ..), _)| own == plural);
        let objects = of.map(|(_, object)| object);
        objects
            .filter(|object| selected(object, query))
            .cloned()
            .collect()
    }
}

/// Every object of a text of YAML documents, lists taken apart.
fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    documents.into_iter().flat_map(apart).collect()
}

fn apart(mut document: Value) -> Vec<Value> {
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

fn key(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let plural = format!("{}s", text(&object["kind"]).to_lowercase());
    let metadata = &object["metadata"];
    (
        plural,
        text(&metadata["namespace"]),
        text(&metadata["name"]),
    )
}

/// Field selectors as far as a node's agent uses them.
fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let selector = query
        .get("fieldSelector")
        .and_then(|text| text.split_once('='));
    let Some((field, value)) = selector else {
        return true;
    };
    let path = format!("/{}", field.replace('.', "/"));
    object.pointer(&path).and_then(Value::as_str) == Some(value)
}

async fn core(
    State(shared): State<Arc<Shared>>,
    Path(plural): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    answer(shared, plural, query, &headers).await
}

async fn grouped(
    State(shared): State<Arc<Shared>>,
    Path((_, _, plural)): Path<(String, String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    answer(shared, plural, query, &headers).await
}

async fn answer(
    shared: Arc<Shared>,
    plural: String,
    query: BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Response {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let metadata = accepted.is_some_and(|accept| accept.contains("as=PartialObjectMetadata"));
    let watching = query
        .get("watch")
        .is_some_and(|watch| watch == "true" || watch == "1");
    let further = query.contains_key("continue");
    {
        let mut world = shared
            .world
            .lock()
            .expect("no test panics with the lock held");
        let sort = match (world.failing, watching, further) {
            (Some(_), ..) => "failed",
            (None, true, _) => "watch",
            (None, false, true) => "page",
            (None, false, false) => "list",
        };
        world.requests.push((plural.clone(), sort));
        if let Some(code) = world.failing {
            return failure(code, "InternalError");
        }
    }
    if watching {
        return watched(shared, plural, &query, metadata);
    }
    if further {
        released(&shared, &plural).await;
    }
    let mut world = shared
        .world
        .lock()
        .expect("no test panics with the lock held");
    list(&mut world, &plural, &query, metadata)
}

async fn released(shared: &Shared, plural: &str) {
    let mut changed = shared.changed.subscribe();
    loop {
        let held = {
            let world = shared
                .world
                .lock()
                .expect("no test panics with the lock held");
            world.held.as_deref() == Some(plural)
        };
        if !held || changed.changed().await.is_err() {
            return;
        }
    }
}

fn list(
    world: &mut World,
    plural: &str,
    query: &BTreeMap<String, String>,
    metadata: bool,
) -> Response {
    let limit: usize = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(usize::MAX);
    let (snapshot, from) = match query
        .get("continue")
        .and_then(|token| token.split_once(':'))
    {
        Some((snapshot, from)) => (snapshot.parse().unwrap_or(0), from.parse().unwrap_or(0)),
        None => {
            let objects = world.matching(plural, query);
            world
                .snapshots
                .insert((plural.to_owned(), world.version), objects);
            (world.version, 0)
        }
    };
    let Some(objects) = world.snapshots.get(&(plural.to_owned(), snapshot)) else {
        return failure(410, "Expired");
    };
    let page = objects
        .iter()
        .skip(from)
        .take(limit)
        .map(|object| shown(object, metadata));
    let page: Vec<Value> = page.collect();
    let next = from + page.len();
    let mut about = json!({"resourceVersion": snapshot.to_string()});
    if next < objects.len() {
        about["continue"] = format!("{snapshot}:{next}").into();
    }
    let kind = if metadata {
        "PartialObjectMetadataList"
    } else {
        "List"
    };
    let version = if metadata { "meta.k8s.io/v1" } else { "v1" };
    Json(json!({"apiVersion": version, "kind": kind, "metadata": about, "items": page}))
        .into_response()
}

fn shown(object: &Value, metadata: bool) -> Value {
    if !metadata {
        return object.clone();
    }
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": object["metadata"],
    })
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "message": "called up by a test", "reason": reason, "code": code,
    })
}

fn failure(code: u16, reason: &str) -> Response {
    let http = StatusCode::from_u16(code).expect("a status");
    (http, Json(status(code, reason))).into_response()
}

/// Where an open watch stands.
struct Watch {
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    plural: String,
    query: BTreeMap<String, String>,
    metadata: bool,
    seen: u64,
    breaks: u64,
    over: bool,
}

fn watched(
    shared: Arc<Shared>,
    plural: String,
    query: &BTreeMap<String, String>,
    metadata: bool,
) -> Response {
    let seen = query
        .get("resourceVersion")
        .and_then(|version| version.parse().ok());
    let world = shared
        .world
        .lock()
        .expect("no test panics with the lock held");
    let breaks = world.breaks;
    if world.plain_gone && seen.unwrap_or(0) < world.forgotten {
        return failure(410, "Expired");
    }
    drop(world);
    let watch = Watch {
        changed: shared.changed.subscribe(),
        shared,
        plural,
        query: query.clone(),
        metadata,
        seen: seen.unwrap_or(0),
        breaks,
        over: false,
    };
    let body = Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Some((next, watch))
    }));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

impl Watch {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(chunk) = self.ready() {
                return Some(chunk);
            }
            self.changed.changed().await.ok()?;
        }
    }

    fn ready(&mut self) -> Option<io::Result<Bytes>> {
        let shared = Arc::clone(&self.shared);
        let mut world = shared
            .world
            .lock()
            .expect("no test panics with the lock held");
        if self.breaks > world.breaks {
            self.over = true;
            return Some(Err(io::Error::other("broken off by a test")));
        }
        if self.breaks < world.breaks {
            self.breaks = u64::MAX;
            self.shared.changed.send_modify(|count| *count += 1);
            return Some(Ok(Bytes::from_static(
                b"{\"type\":\"MODIFIED\",\"object\":{\"ki",
            )));
        }
        if self.seen < world.forgotten {
            self.over = true;
            let gone = json!({"type": "ERROR", "object": status(410, "Expired")});
            return Some(Ok(line(&gone)));
        }
        let next = world.events.iter().find(|(version, plural, event)| {
            *version > self.seen && *plural == self.plural && self.wants(event)
        });
        let (version, _, event) = next?;
        self.seen = *version;
        let mut event = event.clone();
        if event["type"] == "BOOKMARK" {
            world.requests.push((self.plural.clone(), "bookmark"));
        }
        event["object"] = match event["type"].as_str() {
            Some("BOOKMARK") => event["object"].take(),
            _ => shown(&event["object"], self.metadata),
        };
        Some(Ok(line(&event)))
    }

    fn wants(&self, event: &Value) -> bool {
        if event["type"] == "BOOKMARK" {
            return self
                .query
                .get("allowWatchBookmarks")
                .is_some_and(|wanted| wanted == "true");
        }
        selected(&event["object"], &self.query)
    }
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}
