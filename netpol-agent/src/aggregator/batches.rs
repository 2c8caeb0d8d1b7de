//! Taking batches in, and telling what was taken in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use tokio::time::timeout;

use super::app::App;
use super::belongs::{self, Known};
use super::openapi::{AgentRefusals, DeliveryRefusals};
use super::query::Param;
use super::refusal::Refusal;
use super::{body, sane};
use crate::wire::{
    self, Acknowledgement, DecodeError, Delivery, Disorder, Encoding, MEDIA_TYPE, MOST_TRANSFERRED,
    VERSION_HEADER,
};

/// Takes a delivery in. It is answered once all of it is durable; if it is refused, nothing of it is kept.
#[utoipa::path(
    post, path = "/v1/batches", tag = "agents", security(("token" = [])),
    params(VersionHeader, ("content-encoding" = Option<String>, Header, description = "zstd or identity")),
    request_body(content = Delivery, content_type = "application/json"),
    responses(
        (status = 200, description = "All of it is durable", body = Acknowledgement),
        DeliveryRefusals,
    ),
)]
pub(super) async fn deliver(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Acknowledgement>, Refusal> {
    let mut body = Some(body);
    let taken = take_in(&app, peer.ip(), &headers, &mut body).await;
    if let Some(unread) = body {
        body::discard(&headers, unread, MOST_TRANSFERRED).await;
    }
    taken.map(Json)
}

async fn take_in(
    app: &App,
    peer: IpAddr,
    headers: &HeaderMap,
    body: &mut Option<Body>,
) -> Result<Acknowledgement, Refusal> {
    check_version(headers)?;
    let encoding = encoding(headers)?;
    let agent = app.agent(headers, peer).await?;
    let _turn = app.turn(&agent.node)?;
    let patience = app.limits.body;
    let body = body.take().unwrap_or_default();
    let (bytes, room) = body::read(headers, body, MOST_TRANSFERRED, &app.bodies, patience).await?;
    let mut delivery = decode(app, bytes, encoding).await?;
    drop(room);
    check(app, &agent.node, &mut delivery)?;
    commit(app, &delivery).await?;
    Ok(delivery.acknowledgement())
}

/// Tells the highest number of a batch that is durable of an observer, by epoch.
#[utoipa::path(
    get, path = "/v1/batches/{observer}", tag = "agents", security(("token" = [])),
    params(VersionHeader, ("observer" = String, Path, description = "The agent's own node")),
    responses(
        (status = 200, description = "What is durable", body = Acknowledgement),
        AgentRefusals,
    ),
)]
pub(super) async fn durable(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Param(observer): Param<String>,
    headers: HeaderMap,
) -> Result<Json<Acknowledgement>, Refusal> {
    check_version(&headers)?;
    let agent = app.agent(&headers, peer.ip()).await?;
    check_observer(&agent.node, &observer)?;
    let sequences = app.intake.sequences(&observer);
    Ok(Json(Acknowledgement::of(sequences)))
}

/// What every request of an agent states.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it only documents the header")]
struct VersionHeader {
    /// The version of the protocol that the agent speaks.
    #[param(rename = "netpol-wire", example = 1)]
    version: u32,
}

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let told = text(headers, VERSION_HEADER);
    wire::judge(told).map_err(|upgrade| Refusal::Version {
        told: told.map_or_else(
            || "is not stated".to_owned(),
            |told| format!("is stated as {told:?}"),
        ),
        upgrade,
    })
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let media = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(Refusal::MediaType(format!(
            "Content-Type is {media:?} and must be {MEDIA_TYPE}"
        )));
    }
    let told = text(headers, header::CONTENT_ENCODING.as_str());
    Encoding::of(told).ok_or_else(|| {
        let told = told.unwrap_or_default();
        Refusal::MediaType(format!(
            "Content-Encoding is {told:?} and must be zstd or identity"
        ))
    })
}

fn check_observer(own: &str, other: &str) -> Result<(), Refusal> {
    if own == other {
        return Ok(());
    }
    Err(Refusal::OtherNode {
        own: own.to_owned(),
        other: other.to_owned(),
    })
}

/// Decodes in a thread where waiting does no harm, few bodies at the same time.
async fn decode(app: &App, bytes: Vec<u8>, encoding: Encoding) -> Result<Delivery, Refusal> {
    let busy = Refusal::Busy("too many bodies are being decoded");
    let seat = timeout(app.limits.body, app.decoding.acquire()).await;
    let _seat = seat.ok().and_then(Result::ok).ok_or(busy)?;
    let decoding = tokio::task::spawn_blocking(move || wire::decode(&bytes, encoding));
    match decoding.await {
        Ok(decoded) => decoded.map_err(refusal),
        Err(fault) => Err(Refusal::NotKept(format!(
            "decoding ended by a fault: {fault}"
        ))),
    }
}

fn refusal(error: DecodeError) -> Refusal {
    match error {
        DecodeError::TooLarge { .. } => Refusal::TooLarge(error.to_string()),
        DecodeError::Disorder(Disorder::Stranger { observer, node, .. }) => Refusal::OtherNode {
            own: node,
            other: observer,
        },
        other => Refusal::Malformed(other.to_string()),
    }
}

fn check(app: &App, node: &str, delivery: &mut Delivery) -> Result<(), Refusal> {
    let now = Timestamp::now();
    check_observer(node, &delivery.agent.node)?;
    sane::check(delivery, now)?;
    let edges = delivery.batches.iter().map(|batch| batch.edges.len()).sum();
    app.take_edges(node, edges)?;
    let since = app.whole_since()?;
    let index = app.index();
    let batches = delivery.batches.iter().map(AsRef::as_ref);
    let known = Known {
        index: &index,
        since,
        now,
    };
    let unverifiable = belongs::check(batches, node, known)?;
    let batches = delivery.batches.iter_mut().map(Arc::make_mut);
    let foreign: usize = batches
        .map(|batch| belongs::take_out_pods(batch, &index, now))
        .sum();
    app.counts.note(|counted| {
        counted.unverifiable += unverifiable as u64;
        counted.foreign_addresses += foreign as u64;
    });
    Ok(())
}

async fn commit(app: &App, delivery: &Delivery) -> Result<(), Refusal> {
    let patience = app.limits.commit;
    let _room = app.undurable.take(sane::weight(delivery), patience).await?;
    let kept = timeout(patience, app.intake.commit(delivery.batches.clone())).await;
    let seconds = patience.as_secs();
    kept.unwrap_or_else(|_| Err(format!("not within {seconds} s")))
        .map_err(Refusal::NotKept)?;
    let now = Timestamp::now();
    app.counts.note(|counted| {
        for batch in &delivery.batches {
            let lag = now.duration_since(batch.time).as_secs_f64().max(0.0);
            counted.batches += 1;
            counted.edges += batch.edges.len() as u64;
            counted.lag = (lag, counted.lag.1 + lag);
        }
    });
    Ok(())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(name)?;
    // A header that is no text is none that is known here.
    Some(value.to_str().unwrap_or("not text"))
}
