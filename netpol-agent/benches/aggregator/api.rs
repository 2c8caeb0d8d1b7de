//! The API server of the simulated cluster, in a process of its own, over real HTTP: lists in pages and watches of objects
//! that are made when they are sent, reviews of tokens and rights, and the writes of the controller.
//!
//! Every tenth pod is replaced when it is told to: the old one ends, the new one is made, scheduled and started, as five
//! events, and an endpoint slice changes with it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::objects::{self, Phase, Pod};
use super::setting;
use super::world::{NAMESPACES, OWN, REPLICAS, World, agent_name, agent_uid, namespace, node_name};

type Parameters = BTreeMap<String, String>;

/// Which pod of a workload is replaced.
pub(crate) const REPLACED: usize = 3;

struct Api {
    world: World,
    state: Mutex<Live>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Live {
    /// How many requests came, by verb and plural.
    requests: BTreeMap<String, u64>,
    /// When pods were replaced, by workload.
    replaced: Vec<Timestamp>,
    pods: Vec<(&'static str, Pod)>,
    /// Workloads whose slices changed.
    slices: Vec<usize>,
    proposals: BTreeMap<(String, String), Value>,
    version: u64,
}

/// What a path names.
#[derive(Debug, Default)]
struct Target<'a> {
    api: String,
    plural: &'a str,
    namespace: &'a str,
    name: &'a str,
    part: &'a str,
}

/// Serves until the process is killed. Prints the port first.
pub(crate) fn serve() -> Result<()> {
    let world = World::new(setting("NODES", 5_000)?, setting("PODS", 100_000)?);
    let api = Arc::new(Api {
        world,
        state: Mutex::default(),
        changed: watch::Sender::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
        let routes = Router::new().fallback(handle).with_state(api);
        axum::serve(listener, routes).await?;
        Ok(())
    })
}

async fn handle(
    State(api): State<Arc<Api>>,
    method: Method,
    uri: Uri,
    Query(query): Query<Parameters>,
    body: Bytes,
) -> Response {
    match uri.path() {
        "/bench/requests" => return axum::Json(api.live().requests.clone()).into_response(),
        "/bench/replaced" => return api.live().replaced.len().to_string().into_response(),
        "/bench/replace" => {
            let time = query.get("seconds").and_then(|text| text.parse().ok());
            tokio::spawn(api.replace(Duration::from_secs(time.unwrap_or(60))));
            return "".into_response();
        }
        _ => {}
    }
    let target = Target::of(uri.path());
    let watching = query
        .get("watch")
        .is_some_and(|it| it == "true" || it == "1");
    let verb = match (method.as_str(), watching) {
        ("GET", true) => "watch",
        ("GET", false) if target.name.is_empty() => "list",
        (other, _) => other,
    };
    let sort = format!("{} {}", verb.to_lowercase(), target.plural);
    *api.live().requests.entry(sort).or_default() += 1;
    let body = || serde_json::from_slice::<Value>(&body).unwrap_or_default();
    match verb {
        "watch" => api.watched(&target, &query),
        "list" => json_text(api.list(&target, &query)),
        "POST" => json_text(api.create(&target, body()).to_string()),
        "PATCH" => json_text(api.patch(&target, &body()).to_string()),
        _ => json_text(api.get(&target).to_string()),
    }
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Self {
        let mut parts = path.trim_matches('/').split('/');
        let api = match parts.next() {
            Some("apis") => [parts.next(), parts.next()]
                .map(Option::unwrap_or_default)
                .join("/"),
            _ => parts.next().unwrap_or_default().to_owned(),
        };
        let rest: Vec<&str> = parts.collect();
        let at = |place: usize| rest.get(place).copied().unwrap_or_default();
        let (namespace, from) = match at(0) == "namespaces" && rest.len() > 2 {
            true => (at(1), 2),
            false => ("", 0),
        };
        Self {
            api,
            plural: at(from),
            namespace,
            name: at(from + 1),
            part: at(from + 2),
        }
    }
}

impl Live {
    fn generation(&self, pod: usize) -> u8 {
        u8::from(pod % REPLICAS == REPLACED && pod / REPLICAS < self.replaced.len())
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        1_000_000 + self.version
    }
}

impl Api {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many objects there are of a plural.
    fn count(&self, plural: &str) -> usize {
        match plural {
            "pods" => self.world.pods + self.world.nodes,
            "nodes" => self.world.nodes,
            "namespaces" => NAMESPACES.min(self.world.workloads()) + 1,
            "deployments" | "replicasets" | "services" | "endpointslices" => self.world.workloads(),
            _ => 0,
        }
    }

    fn object(&self, plural: &str, number: usize) -> String {
        let world = &self.world;
        match plural {
            "pods" if number < world.pods => {
                let live = self.live();
                let generation = live.generation(number);
                let replaced = live
                    .replaced
                    .get(number / REPLICAS)
                    .filter(|_| generation > 0);
                let created = replaced.copied().unwrap_or(world.began);
                drop(live);
                let phase = Phase::Running;
                objects::pod(
                    world,
                    Pod {
                        number,
                        generation,
                        phase,
                        created,
                    },
                )
            }
            "pods" => objects::agent(world, number - world.pods),
            "nodes" => objects::node(world, number),
            "namespaces" if number == 0 => objects::space(OWN),
            "namespaces" => objects::space(&namespace(number - 1)),
            "deployments" => objects::deployment(world, number),
            "replicasets" => objects::replica_set(world, number),
            "services" => objects::service(world, number),
            _ => {
                let live = self.live();
                objects::slice(world, number, |pod| live.generation(pod))
            }
        }
    }

    fn list(&self, target: &Target<'_>, query: &Parameters) -> String {
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit")
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        let from = number("continue").unwrap_or(0);
        let (items, all) = match target.plural {
            "learnedpolicies" => {
                let live = self.live();
                let some = live.proposals.values().skip(from).take(limit);
                (
                    some.map(Value::to_string).collect::<Vec<_>>(),
                    live.proposals.len(),
                )
            }
            // Nothing bears the label that is asked for.
            _ if query.contains_key("labelSelector") => (Vec::new(), 0),
            plural => {
                let all = self.count(plural);
                let some = from..all.min(from.saturating_add(limit));
                (
                    some.map(|number| self.object(plural, number)).collect(),
                    all,
                )
            }
        };
        let next = from + items.len();
        let more = if next < all {
            format!(r#""continue":"{next}","#)
        } else {
            String::new()
        };
        let (api, version) = (&target.api, self.version(target.plural));
        let items = items.join(",");
        format!(
            r#"{{"kind":"List","apiVersion":"{api}","metadata":{{{more}"resourceVersion":"{version}"}},"items":[{items}]}}"#
        )
    }

    /// The version of a list: how many events there were, and one.
    fn version(&self, plural: &str) -> usize {
        let live = self.live();
        1 + match plural {
            "pods" => live.pods.len(),
            "endpointslices" => live.slices.len(),
            _ => 0,
        }
    }

    fn watched(self: &Arc<Self>, target: &Target<'_>, query: &Parameters) -> Response {
        let number = |name: &str| query.get(name).and_then(|text| text.parse().ok());
        let from: usize = number("resourceVersion").unwrap_or(1);
        let time = Duration::from_secs(number("timeoutSeconds").unwrap_or(300) as u64);
        let end = tokio::time::Instant::now() + time;
        let plural = target.plural.to_owned();
        let labelled = query.contains_key("labelSelector");
        let start = (
            Arc::clone(self),
            self.changed.subscribe(),
            from.saturating_sub(1),
        );
        let events = stream::unfold(start, move |(api, mut changed, mut seen)| {
            let plural = plural.clone();
            async move {
                loop {
                    let text = if labelled {
                        String::new()
                    } else {
                        api.events(&plural, &mut seen)
                    };
                    if !text.is_empty() {
                        return Some((Ok::<_, std::io::Error>(text), (api, changed, seen)));
                    }
                    let news = tokio::time::timeout_at(end, changed.changed()).await;
                    news.ok()?.ok()?;
                }
            }
        });
        let body = Body::from_stream(events);
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }

    /// The events after so many, as lines; at most some hundred at once.
    fn events(&self, plural: &str, seen: &mut usize) -> String {
        let mut text = String::new();
        let mut line = |kind: &str, object: String| {
            text.push_str(&format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"));
        };
        match plural {
            "pods" => {
                let some: Vec<_> = self
                    .live()
                    .pods
                    .iter()
                    .skip(*seen)
                    .take(500)
                    .copied()
                    .collect();
                *seen += some.len();
                for (kind, pod) in some {
                    line(kind, objects::pod(&self.world, pod));
                }
            }
            "endpointslices" => {
                let some: Vec<_> = self
                    .live()
                    .slices
                    .iter()
                    .skip(*seen)
                    .take(500)
                    .copied()
                    .collect();
                *seen += some.len();
                for workload in some {
                    line("MODIFIED", self.object(plural, workload));
                }
            }
            _ => {}
        }
        text
    }

    fn create(&self, target: &Target<'_>, mut body: Value) -> Value {
        match target.plural {
            "tokenreviews" => {
                let token = body["spec"]["token"].as_str().unwrap_or_default();
                body["status"] = review(token);
            }
            "subjectaccessreviews" => body["status"] = json!({"allowed": true}),
            _ => {
                let mut live = self.live();
                let version = live.next_version();
                body["metadata"]["uid"] = format!("00000000-0000-4000-b000-{version:012}").into();
                body["metadata"]["resourceVersion"] = version.to_string().into();
                body["metadata"]["namespace"] = target.namespace.into();
                body["metadata"]["creationTimestamp"] = "2026-02-02T00:00:00Z".into();
                if target.plural == "learnedpolicies" {
                    let name = body["metadata"]["name"].as_str().unwrap_or_default();
                    let key = (target.namespace.to_owned(), name.to_owned());
                    live.proposals.insert(key, body.clone());
                }
            }
        }
        body
    }

    fn patch(&self, target: &Target<'_>, body: &Value) -> Value {
        let mut live = self.live();
        let version = live.next_version();
        let key = (target.namespace.to_owned(), target.name.to_owned());
        match live.proposals.get_mut(&key) {
            Some(known) if target.part == "status" => {
                known["status"] = body["status"].clone();
                known["metadata"]["resourceVersion"] = version.to_string().into();
                known.clone()
            }
            _ => body.clone(),
        }
    }

    fn get(&self, target: &Target<'_>) -> Value {
        let key = (target.namespace.to_owned(), target.name.to_owned());
        self.live().proposals.get(&key).cloned().unwrap_or_default()
    }

    /// Replaces one pod of every workload, evenly over a time.
    fn replace(self: &Arc<Self>, over: Duration) -> impl Future<Output = ()> + use<> {
        let api = Arc::clone(self);
        async move {
            let pods = (REPLACED..api.world.pods).step_by(REPLICAS);
            let each = over / u32::try_from(pods.len().max(1)).unwrap_or(u32::MAX);
            let mut due = tokio::time::Instant::now();
            for number in pods {
                api.replace_one(number);
                due += each;
                tokio::time::sleep_until(due).await;
            }
        }
    }

    fn replace_one(&self, number: usize) {
        let now = Timestamp::now();
        let old = Pod {
            number,
            generation: 0,
            phase: Phase::Ending,
            created: self.world.began,
        };
        let new = |phase| Pod {
            number,
            generation: 1,
            phase,
            created: now,
        };
        let mut live = self.live();
        live.pods.extend([
            ("MODIFIED", old),
            ("ADDED", new(Phase::Pending)),
            ("MODIFIED", new(Phase::Starting)),
            ("MODIFIED", new(Phase::Running)),
            ("DELETED", old),
        ]);
        live.slices.push(number / REPLICAS);
        live.replaced.push(now);
        drop(live);
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Whose a token is: `agent-N.…` is of the agent of node N, `viewer` of a person's command.
fn review(token: &str) -> Value {
    let number = token
        .strip_prefix("agent-")
        .and_then(|rest| rest.split('.').next());
    let number = number.and_then(|text| text.parse::<usize>().ok());
    let account = if number.is_some() {
        "netpol-agent"
    } else {
        "netpol-viewer"
    };
    let mut user = json!({
        "username": format!("system:serviceaccount:{OWN}:{account}"), "uid": "1",
        "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{OWN}"), "system:authenticated"],
    });
    if let Some(node) = number {
        user["extra"] = json!({
            "authentication.kubernetes.io/pod-name": [agent_name(node)],
            "authentication.kubernetes.io/pod-uid": [agent_uid(node)],
            "authentication.kubernetes.io/node-name": [node_name(node)],
        });
    }
    json!({"authenticated": true, "user": user, "audiences": ["netpol-aggregator"]})
}
