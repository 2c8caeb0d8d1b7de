//! From a request to what it is about.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::Value;

use super::answer::Failure;
use super::fault::{self, Misbehaviour};
use super::list::{self, Wanted};
use super::world::Request;
use super::{Shared, auth, watch, write};

/// What a path names.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// `v1`, or group and version.
    pub(super) api: String,
    pub(super) plural: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) subresource: String,
}

/// Answers any request.
pub(super) async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(query): Query<list::Query>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(target) = Target::of(uri.path()) else {
        return other(uri.path());
    };
    let request = request(&shared, &method, &target, &query, &headers, &body);
    let fault = {
        let mut world = shared.world();
        let failing = world.failing;
        let mut seen = request.clone();
        if failing.is_some() {
            seen.sort = "failed";
        }
        world.requests.push(seen);
        if let Some(code) = failing {
            return Failure::new(code, "InternalError", "called up by a test").into_response();
        }
        fault::next(&mut world.faults, &request)
    };
    match fault {
        Some(Misbehaviour::Status(code)) => {
            return Failure::new(code, reason(code), "called up by a test").into_response();
        }
        Some(Misbehaviour::Slow(time)) => tokio::time::sleep(time).await,
        Some(Misbehaviour::Cut) => return cut(),
        Some(Misbehaviour::CutAfter) | None => {}
    }
    let answered = answer(&shared, target, query, &headers, &request).await;
    shared.announce();
    match fault {
        Some(Misbehaviour::CutAfter) => cut(),
        _ => answered.unwrap_or_else(Failure::into_response),
    }
}

async fn answer(
    shared: &Arc<Shared>,
    target: Target,
    query: list::Query,
    headers: &HeaderMap,
    request: &Request,
) -> Result<Response, Failure> {
    auth::admit(&shared.world(), request)?;
    let accepted = header(headers, &header::ACCEPT);
    let wanted = Wanted {
        metadata: accepted.contains("as=PartialObjectMetadata"),
        api: target.api.clone(),
        plural: target.plural.clone(),
        namespace: target.namespace.clone(),
        query,
    };
    match request.sort {
        "watch" => watch::watched(Arc::clone(shared), wanted),
        "page" => {
            released(shared, &target.plural).await;
            list::list(&mut shared.world(), &wanted)
        }
        "list" => list::list(&mut shared.world(), &wanted),
        _ => write::answer(&mut shared.world(), &target, &wanted, request),
    }
}

fn request(
    shared: &Shared,
    method: &Method,
    target: &Target,
    query: &list::Query,
    headers: &HeaderMap,
    body: &Bytes,
) -> Request {
    let watching = query
        .get("watch")
        .is_some_and(|watch| watch == "true" || watch == "1");
    let further = query.contains_key("continue");
    let one = !target.name.is_empty();
    let content = header(headers, &header::CONTENT_TYPE);
    let (sort, verb) = match (method.as_str(), one) {
        ("GET", true) => ("get", "get"),
        ("GET", false) if watching => ("watch", "watch"),
        ("GET", false) if further => ("page", "list"),
        ("GET", false) => ("list", "list"),
        ("POST", _) => ("create", "create"),
        ("PUT", _) => ("update", "update"),
        ("PATCH", _) if content.contains("apply-patch") => ("apply", "patch"),
        ("PATCH", _) => ("patch", "patch"),
        ("DELETE", true) => ("delete", "delete"),
        ("DELETE", false) => ("deletecollection", "deletecollection"),
        _ => ("unknown", ""),
    };
    let agent = header(headers, &header::USER_AGENT);
    let agent = agent.split('/').next().filter(|agent| !agent.is_empty());
    let manager = query.get("fieldManager").map(String::as_str).or(agent);
    let token = header(headers, &header::AUTHORIZATION);
    let token = token.strip_prefix("Bearer ").unwrap_or_default();
    let user = shared
        .world()
        .tokens
        .get(token)
        .map(|account| account.user.clone());
    let group = target.api.rsplit_once('/').map_or("", |(group, _)| group);
    Request {
        sort,
        verb,
        group: group.to_owned(),
        plural: target.plural.clone(),
        subresource: target.subresource.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        user: user.unwrap_or_default(),
        manager: manager.unwrap_or("unknown").to_owned(),
        body: parsed(body),
    }
}

/// A body of JSON, or of YAML, which server-side apply allows.
fn parsed(body: &Bytes) -> Value {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let json = serde_json::from_str(text).ok();
    json.or_else(|| serde_saphyr::from_str(text).ok())
        .unwrap_or_default()
}

fn header(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Waits until pages of that plural are no longer held.
async fn released(shared: &Shared, plural: &str) {
    let mut changed = shared.changed.subscribe();
    while shared.world().held.as_deref() == Some(plural) {
        if changed.changed().await.is_err() {
            return;
        }
    }
}

/// An answer that breaks off before its first byte of content.
fn cut() -> Response {
    let broken = Err::<Bytes, _>(std::io::Error::other("cut by a test"));
    Body::from_stream(stream::iter([broken])).into_response()
}

/// What is asked besides objects.
fn other(path: &str) -> Response {
    match path {
        "/version" => axum::Json(serde_json::json!({
            "major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64",
        }))
        .into_response(),
        "/healthz" | "/livez" | "/readyz" => "ok".into_response(),
        _ => Failure::new(404, "NotFound", format!("no such path: {path}")).into_response(),
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}

impl Target {
    /// `/api/v1/…` and `/apis/GROUP/VERSION/…`, with a namespace or without.
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (api, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..]
                if !["status", "finalize"].contains(plural) =>
            {
                (*namespace, [&[*plural], rest].concat())
            }
            rest => ("", rest.to_vec()),
        };
        let part = |number: usize| rest.get(number).copied().unwrap_or_default().to_owned();
        let target = Self {
            api,
            plural: part(0),
            namespace: namespace.to_owned(),
            name: part(1),
            subresource: part(2),
        };
        (!target.plural.is_empty() && rest.len() <= 3).then_some(target)
    }
}
