//! An answer that is made while it is sent.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Parts that may wait for the reader.
const AHEAD: usize = 4;
/// Bytes of a part, about.
const PART: usize = 64 << 10;

enum Piece {
    Data(Bytes),
    End,
}

/// Takes an answer to its reader.
#[derive(Debug)]
pub(super) struct Writer {
    to: mpsc::Sender<Piece>,
    part: Vec<u8>,
    patience: Duration,
}

/// The reader is gone, or does not take what it is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Gone;

impl Writer {
    /// Adds to the answer.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.part.extend_from_slice(bytes);
        if self.part.len() < PART {
            return Ok(());
        }
        self.flush().await
    }

    /// Sends what was added.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = Bytes::from(std::mem::take(&mut self.part));
        self.send(Piece::Data(part)).await
    }

    /// Whether the reader has gone away.
    pub(super) fn is_closed(&self) -> bool {
        self.to.is_closed()
    }

    /// Ends the answer. One that is not ended breaks off, so that nobody takes it for whole.
    pub(super) async fn end(mut self) -> Result<(), Gone> {
        self.flush().await?;
        self.send(Piece::End).await
    }

    async fn send(&self, piece: Piece) -> Result<(), Gone> {
        match timeout(self.patience, self.to.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// A response of that media type, and what writes it. A reader that takes nothing for `patience` is given up.
pub(super) fn response(media: &'static str, patience: Duration) -> (Writer, Response) {
    let (to, from) = mpsc::channel(AHEAD);
    let pieces = stream::unfold(Some(from), |from| async move {
        let mut from = from?;
        match from.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(bytes), Some(from))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the answer breaks off")), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let writer = Writer {
        to,
        part: Vec::new(),
        patience,
    };
    (writer, response)
}
