//! How the aggregator is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::admit;
use crate::aggregator::app::App;
use crate::aggregator::refusal::Refusal;
use crate::keeper::Snapshot;
use crate::observe::Losses;

/// How an aggregator is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Whether it is the replica that writes to the Kubernetes API.
    pub leader: bool,
    /// Since when it has known every object.
    #[schema(value_type = String, format = DateTime)]
    pub watching_since: Timestamp,
    /// Its time.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// The latest time of any batch.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// Edges of the flow graph.
    pub edges: usize,
    /// Flows of which an end cannot be told.
    pub unresolved: usize,
    /// Kubernetes objects in the index, by kind.
    pub objects: BTreeMap<String, usize>,
    /// Refused requests and connections since it started, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The node agents of which anything is known.
    pub observers: Vec<ObserverStatus>,
}

/// How a node agent is, as far as its batches tell.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ObserverStatus {
    /// Its node.
    pub name: String,
    /// Whether that node is not in the cluster any more.
    pub gone: bool,
    /// When its latest batch was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_batch: Option<Timestamp>,
    /// Distinct edges that it told.
    pub edges: usize,
    /// What it could not see or keep, over all pods.
    pub losses: Losses,
}

/// How the aggregator is, and what it knows of each node agent.
#[utoipa::path(
    get, path = "/v1/status", tag = "read", security(("token" = [])),
    responses(
        (status = 200, description = "How it is", body = Status),
        crate::aggregator::openapi::ReadRefusals,
    ),
)]
pub(in crate::aggregator) async fn status(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Status>, Refusal> {
    admit(&app, &headers, peer, None).await?;
    let _seat = app.reader().await?;
    let watching_since = app.whole_since()?;
    let snapshot = app.keeper.snapshot();
    let refused = app.counts.all().refused.into_iter();
    let objects = app.index().present_counts().into_iter();
    let observers = observers(&app, &snapshot);
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leader: *app.leader.borrow(),
        watching_since,
        now: Timestamp::now(),
        time: snapshot.time,
        edges: snapshot.graph.edges.len(),
        unresolved: snapshot.graph.unresolved.flows.len(),
        objects: objects
            .map(|(kind, count)| (kind.to_owned(), count))
            .collect(),
        refused: refused
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect(),
        observers,
    }))
}

fn observers(app: &App, snapshot: &Snapshot) -> Vec<ObserverStatus> {
    let index = app.index();
    let observers = snapshot.observers.iter();
    let observers = observers.map(|(name, state)| ObserverStatus {
        name: name.clone(),
        gone: index.lacks_node(name),
        last_batch: state.last_batch,
        edges: state.edges,
        losses: state.losses.clone(),
    });
    observers.collect()
}
