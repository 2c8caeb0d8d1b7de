//! The body of a request, within bounds of size, time and memory.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::refusal::Refusal;

/// Memory is counted in units of this many bytes.
const UNIT: usize = 1 << 10;

/// How long a body that nobody wants is read.
const DISCARDING: Duration = Duration::from_secs(5);

/// Room in memory that requests share.
#[derive(Debug)]
pub(super) struct Room {
    units: usize,
    free: Semaphore,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            units,
            free: Semaphore::new(units),
        }
    }

    /// Waits for room for so many bytes; for all of the room, if they are more than that.
    pub(super) async fn take(
        &self,
        bytes: usize,
        patience: Duration,
    ) -> Result<SemaphorePermit<'_>, Refusal> {
        let units = bytes.div_ceil(UNIT).clamp(1, self.units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let busy = Refusal::Busy("too much is being taken in at present");
        match timeout(patience, self.free.acquire_many(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy),
        }
    }
}

/// Reads a body of at most `most` bytes, and keeps the room that it takes.
///
/// # Errors
///
/// [`Refusal::TooLarge`] at once, if the request says that it is; [`Refusal::Slow`] if it does not come in time.
pub(super) async fn read<'r>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    room: &'r Room,
    patience: Duration,
) -> Result<(Vec<u8>, SemaphorePermit<'r>), Refusal> {
    let declared = declared(headers);
    if declared.is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    let expected = declared.and_then(|length| usize::try_from(length).ok());
    let taken = room.take(expected.unwrap_or(most), patience).await?;
    let received = timeout(patience, collect(body, most)).await;
    let received = received.unwrap_or(Err(Refusal::Slow(patience)))?;
    Ok((received, taken))
}

/// Reads a body that nobody wants, within bounds: who is cut off while sending does not hear why.
pub(super) async fn discard(headers: &HeaderMap, body: Body, most: usize) {
    if declared(headers).is_some_and(|length| length > most as u64) {
        return;
    }
    let reading = async {
        let mut chunks = body.into_data_stream();
        let mut left = most;
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Whoever is slower than that is cut off all the same.
    let _read = timeout(DISCARDING, reading).await;
}

/// What `Content-Length` says.
fn declared(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn collect(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|error| Refusal::Malformed(format!("the body broke off: {error}")))?;
        if whole.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

fn too_large(most: usize) -> Refusal {
    Refusal::TooLarge(format!(
        "the body has more than {most} bytes: send fewer batches at a time"
    ))
}
