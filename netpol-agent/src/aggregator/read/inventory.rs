//! The Kubernetes objects that the policy engine needs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::stream::{Gone, Writer, response};
use super::{Asked, admit, checked};
use crate::aggregator::app::App;
use crate::aggregator::query::Query;
use crate::aggregator::refusal::Refusal;
use crate::identity::Peer;
use crate::identity::objects::Object;
use crate::inventory::export::export;

/// Pods that are read at once.
const PAGE: usize = 500;

#[utoipa::path(
    get, path = "/v1/inventory", tag = "read", security(("token" = [])), params(Asked),
    responses(
        (status = 200, description = "A List of Kubernetes objects", body = serde_json::Value),
        crate::aggregator::openapi::ReadRefusals,
    ),
)]
/// Every object that the policy engine needs, as a `List`; with a namespace, what is in it and in those that it talks to.
pub(in crate::aggregator) async fn inventory(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let namespace = checked(asked.namespace.as_deref())?;
    admit(&app, &headers, peer, namespace).await?;
    let seat = app.reader().await?;
    let namespaces = match namespace {
        Some(namespace) => neighbours(&app, namespace),
        None => app.index().namespaces().into_keys().collect(),
    };
    let (writer, response) = response("application/json", app.limits.read);
    tokio::spawn(async move {
        let _seat = seat;
        // A reader that has gone away misses nothing.
        let _sent = write(&app, &namespaces, writer).await;
    });
    Ok(response)
}

/// A namespace, and those that it talks to.
fn neighbours(app: &App, namespace: &str) -> BTreeSet<String> {
    let snapshot = app.keeper.snapshot();
    let mut all = BTreeSet::from([namespace.to_owned()]);
    for edge in snapshot.graph.edges.keys() {
        let (Peer::Workload(client), Peer::Workload(server)) = (&edge.client, &edge.server) else {
            continue;
        };
        let (client, server) = (&client.namespace, &server.namespace);
        if client == namespace || server == namespace {
            all.extend([client.clone(), server.clone()]);
        }
    }
    all
}

async fn write(app: &App, namespaces: &BTreeSet<String>, mut writer: Writer) -> Result<(), Gone> {
    writer
        .write(b"{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[")
        .await?;
    let mut list = List {
        writer,
        is_first: true,
    };
    let whole = app.index().cluster_objects();
    list.add(&whole).await?;
    for namespace in namespaces {
        let objects = app.index().objects_in(namespace);
        list.add(&objects).await?;
        let mut after = String::new();
        loop {
            let pods = app.index().pods_after(namespace, &after, PAGE);
            let Some(last) = pods.last() else { break };
            after.clone_from(&last.name.name);
            let pods: Vec<Object> = pods.into_iter().map(Object::Pod).collect();
            list.add(&pods).await?;
        }
    }
    list.writer.write(b"]}\n").await?;
    list.writer.end().await
}

struct List {
    writer: Writer,
    is_first: bool,
}

impl List {
    async fn add(&mut self, objects: &[Object]) -> Result<(), Gone> {
        for object in objects {
            let text = export(object).to_string();
            let separator: &[u8] = if self.is_first { b"\n" } else { b",\n" };
            self.is_first = false;
            self.writer.write(separator).await?;
            self.writer.write(text.as_bytes()).await?;
        }
        Ok(())
    }
}
