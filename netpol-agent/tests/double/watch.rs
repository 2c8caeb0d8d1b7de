//! Watches, and the ways in which they end.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;

use super::Shared;
use super::answer::{Failure, status};
use super::list::Wanted;
use super::world::Request;

/// Where an open watch stands.
struct Watch {
    shared: Arc<Shared>,
    changed: Receiver<u64>,
    wanted: Wanted,
    seen: u64,
    breaks: u64,
    over: bool,
}

/// Opens a watch.
pub(super) fn watched(shared: Arc<Shared>, wanted: Wanted) -> Result<Response, Failure> {
    let seen = wanted.query.get("resourceVersion");
    let seen = seen.and_then(|version| version.parse().ok()).unwrap_or(0);
    let changed = shared.changed.subscribe();
    let world = shared.world();
    let breaks = world.breaks;
    if world.plain_gone && seen < world.forgotten {
        return Err(Failure::new(410, "Expired", "too old resource version"));
    }
    drop(world);
    let watch = Watch {
        changed,
        shared,
        wanted,
        seen,
        breaks,
        over: false,
    };
    let body = Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Some((next, watch))
    }));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
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
        let mut world = shared.world();
        if self.breaks > world.breaks {
            self.over = true;
            return Some(Err(io::Error::other("broken off by a test")));
        }
        if self.breaks < world.breaks {
            self.breaks = u64::MAX;
            self.shared.announce();
            let half = b"{\"type\":\"MODIFIED\",\"object\":{\"ki";
            return Some(Ok(Bytes::from_static(half)));
        }
        if self.seen < world.forgotten {
            self.over = true;
            let gone = status(410, "Expired", "too old resource version");
            return Some(Ok(line(&json!({"type": "ERROR", "object": gone}))));
        }
        let next = world.events.iter().find(|(version, plural, event)| {
            *version > self.seen && *plural == self.wanted.plural && self.wants(event)
        });
        let (version, _, event) = next?;
        self.seen = *version;
        let mut event = event.clone();
        if event["type"] == "BOOKMARK" {
            world.requests.push(Request {
                sort: "bookmark",
                plural: self.wanted.plural.clone(),
                ..Request::default()
            });
            return Some(Ok(line(&event)));
        }
        event["object"] = self.wanted.shown(&event["object"]);
        Some(Ok(line(&event)))
    }

    fn wants(&self, event: &Value) -> bool {
        if event["type"] == "BOOKMARK" {
            let wanted = self.wanted.query.get("allowWatchBookmarks");
            return wanted.is_some_and(|wanted| wanted == "true");
        }
        self.wanted.holds(&event["object"])
    }
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}
