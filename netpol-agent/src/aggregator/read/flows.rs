//! Flow records, as JSON Lines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use netpol_common::record::{Endpoint, FlowRecord};
use serde::Deserialize;

use super::stream::{Gone, Writer, response};
use super::{admit, checked};
use crate::aggregator::app::App;
use crate::aggregator::query::Query;
use crate::aggregator::refusal::Refusal;
use crate::flows::Told;
use crate::identity::{EdgeId, Index, Peer, Resolution};

/// The media type of JSON Lines.
const MEDIA_TYPE: &str = "application/jsonl";
/// How often it is looked for news.
const LOOK: Duration = Duration::from_secs(2);
/// Looking may take this share of a core.
const SHARE: u32 = 5;

/// Which flows are asked for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::aggregator) struct AskedFlows {
    /// With an end in this namespace only; all, if it is absent.
    namespace: Option<String>,
    /// Whether to go on with what comes from now on.
    #[serde(default)]
    follow: bool,
}

#[utoipa::path(
    get, path = "/v1/flows", tag = "read", security(("token" = [])), params(AskedFlows),
    responses(
        (status = 200, description = "One flow record a line", body = String, content_type = "application/jsonl"),
        crate::aggregator::openapi::ReadRefusals,
    ),
)]
/// Flow records: one per edge, view and hour. With `follow`, the answer does not end, and its lines add up.
pub(in crate::aggregator) async fn flows(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(asked): Query<AskedFlows>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let namespace = checked(asked.namespace.as_deref())?.map(str::to_owned);
    admit(&app, &headers, peer, namespace.as_deref()).await?;
    let seat = match asked.follow {
        true => app.follower()?,
        false => app.reader().await?,
    };
    let (writer, response) = response(MEDIA_TYPE, app.limits.read);
    let telling = Telling {
        app,
        namespace,
        headers,
        peer,
        writer,
    };
    tokio::spawn(async move {
        let _seat = seat;
        // A reader that has gone away misses nothing.
        let _sent = match asked.follow {
            true => telling.follow().await,
            false => telling.once().await,
        };
    });
    Ok(response)
}

struct Telling {
    app: Arc<App>,
    namespace: Option<String>,
    headers: HeaderMap,
    peer: SocketAddr,
    writer: Writer,
}

impl Telling {
    async fn once(mut self) -> Result<(), Gone> {
        for observer in self.app.keeper.observers() {
            let records = self.records(observer).await?;
            self.write(records).await?;
        }
        self.writer.end().await
    }

    /// Everything first, and then what is new, for as long as the reader is there and may read.
    async fn follow(mut self) -> Result<(), Gone> {
        let mut told = Told::default();
        let mut is_first = true;
        loop {
            let (begin, news) = (Instant::now(), self.app.keeper.news());
            let now = self.now();
            for observer in self.app.keeper.observers() {
                let records = self.records(observer).await?;
                let old = |record: &FlowRecord| is_first && !Told::may_grow(record, now);
                let new = records.into_iter().filter_map(|record| match old(&record) {
                    true => Some(record),
                    false => told.news(record, now),
                });
                self.write(new.collect()).await?;
            }
            is_first = false;
            self.writer.flush().await?;
            if !told.tidy(now) {
                tracing::info!(
                    "more changes than one reader of flows can be told; ending its answer"
                );
                return Err(Gone);
            }
            self.wait(news, begin.elapsed()).await?;
        }
    }

    /// Waits for news, and for what looking may take.
    async fn wait(&self, news: u64, took: Duration) -> Result<(), Gone> {
        let mut looks = 0_u32;
        loop {
            tokio::time::sleep(LOOK.max(took * (SHARE - 1))).await;
            if self.writer.is_closed() {
                return Err(Gone);
            }
            // Attempts become unanswered without further news.
            looks += 1;
            if self.app.keeper.news() != news || looks.is_multiple_of(15) {
                break;
            }
        }
        let namespace = self.namespace.as_deref();
        let allowed = admit(&self.app, &self.headers, self.peer, namespace).await;
        allowed.map_err(|_| Gone)
    }

    fn now(&self) -> Timestamp {
        self.app.keeper.time().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// What an observer told, as far as it was asked for.
    async fn records(&self, observer: String) -> Result<Vec<FlowRecord>, Gone> {
        let (app, namespace) = (Arc::clone(&self.app), self.namespace.clone());
        let now = self.now();
        let reading = tokio::task::spawn_blocking(move || {
            let mut records = app.keeper.records_of(&observer, now);
            if let Some(namespace) = namespace {
                let index = app.index();
                records.retain(|record| concerns(record, &namespace, &index));
            }
            records
        });
        reading.await.map_err(|_| Gone)
    }

    async fn write(&mut self, records: Vec<FlowRecord>) -> Result<(), Gone> {
        for record in records {
            let mut line = serde_json::to_vec(&record).map_err(|_| Gone)?;
            line.push(b'\n');
            self.writer.write(&line).await?;
        }
        Ok(())
    }
}

/// Whether an end of a record is in a namespace.
fn concerns(record: &FlowRecord, namespace: &str, index: &Index) -> bool {
    let named = |end: &Endpoint| match end {
        Endpoint::Ip(_) => false,
        Endpoint::Pod(name) => name.namespace == namespace,
        Endpoint::Workload(name) => name.namespace == namespace,
    };
    if named(&record.client) || named(&record.server) {
        return true;
    }
    let inside = |peer: &Peer| matches!(peer, Peer::Workload(name) if name.namespace == namespace);
    let concerned = |edge: &EdgeId| inside(&edge.client) || inside(&edge.server);
    match index.resolve(&record.into()) {
        Resolution::Edges(edges) => edges.iter().any(|(edge, _)| concerned(edge)),
        Resolution::Unresolved(_) => false,
    }
}
