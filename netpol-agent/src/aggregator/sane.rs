//! Whether a delivery says what can be: bounds that hold for every agent, whoever it is.

use std::fmt::Display;

use jiff::Timestamp;

use super::limits::{AHEAD, BATCHES, EDGES, LOSSES, NAME, NODE_ADDRESSES};
use super::refusal::Refusal;
use crate::observe::{Batch, ObservedEdge, PodIdentity};
use crate::wire::Delivery;

/// Checks lengths, names and times.
///
/// # Errors
///
/// [`Refusal::Malformed`] with the place of the first thing that is wrong; [`Refusal::Ahead`] if the node's clock is.
pub(super) fn check(delivery: &Delivery, now: Timestamp) -> Result<(), Refusal> {
    most("batches", delivery.batches.len(), BATCHES)?;
    name("agent.node", &delivery.agent.node)?;
    most("agent.version", delivery.agent.version.len(), NAME)?;
    for (at, batch) in delivery.batches.iter().enumerate() {
        check_batch(at, batch, now)?;
    }
    Ok(())
}

/// About how many bytes of memory a delivery takes.
pub(super) fn weight(delivery: &Delivery) -> usize {
    let of = |batch: &Batch| {
        let names = 160;
        let edges = batch.edges.len() * (size_of::<ObservedEdge>() + names);
        edges + batch.losses.len() * 320 + batch.node_addresses.len() * 17 + size_of::<Batch>()
    };
    delivery.batches.iter().map(|batch| of(batch)).sum()
}

fn check_batch(at: usize, batch: &Batch, now: Timestamp) -> Result<(), Refusal> {
    let field = |name: &str| format!("batches[{at}].{name}");
    most(field("edges"), batch.edges.len(), EDGES)?;
    most(field("losses"), batch.losses.len(), LOSSES)?;
    let addresses = batch.node_addresses.len();
    most(field("node_addresses"), addresses, NODE_ADDRESSES)?;
    name(field("epoch.boot_id"), &batch.epoch.boot_id)?;
    if batch.time.duration_since(now) > AHEAD.try_into().unwrap_or_default() {
        return Err(Refusal::Ahead(format!(
            "{}: {} is ahead of this aggregator's clock, which says {now}: set the clock of node {:?}",
            field("time"),
            batch.time,
            batch.observer
        )));
    }
    let mut checked: Option<&PodIdentity> = None;
    for (number, edge) in batch.edges.iter().enumerate() {
        check_times(edge, batch.time)
            .map_err(|wrong| malformed(field(&format!("edges[{number}].{wrong}"))))?;
        if checked != Some(&edge.pod) {
            check_pod(&field(&format!("edges[{number}]")), &edge.pod)?;
            checked = Some(&edge.pod);
        }
    }
    for (number, losses) in batch.losses.iter().enumerate() {
        check_pod(&field(&format!("losses[{number}]")), &losses.pod)?;
    }
    Ok(())
}

/// An edge was first seen before it was last seen, and not after its batch was made.
fn check_times(edge: &ObservedEdge, made: Timestamp) -> Result<(), &'static str> {
    if edge.first_seen > edge.last_seen {
        return Err("first_seen: is after last_seen");
    }
    let latest = made.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    if edge.last_seen > latest {
        return Err("last_seen: is after the batch was made");
    }
    Ok(())
}

fn check_pod(field: &str, pod: &PodIdentity) -> Result<(), Refusal> {
    name(format_args!("{field}.pod.namespace"), &pod.name.namespace)?;
    name(format_args!("{field}.pod.name"), &pod.name.name)?;
    name(format_args!("{field}.pod.uid"), &pod.uid)
}

/// A name as Kubernetes has them, as far as anything here relies on it.
fn name(field: impl Display, text: &str) -> Result<(), Refusal> {
    let usual =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if text.is_empty() || text.len() > NAME || !text.bytes().all(usual) {
        return Err(malformed(format_args!(
            "{field}: is not a name of 1 to {NAME} letters, digits and -._:"
        )));
    }
    Ok(())
}

fn most(field: impl Display, count: usize, most: usize) -> Result<(), Refusal> {
    if count > most {
        return Err(Refusal::TooLarge(format!(
            "{field}: {count} are more than the {most} that are taken at once: send fewer"
        )));
    }
    Ok(())
}

fn malformed(what: impl Display) -> Refusal {
    Refusal::Malformed(what.to_string())
}
