//! Whether a new connection may be made now.
//!
//! An HTTP client makes a new connection by itself when the one that it kept is gone. If that is because the aggregator
//! restarted, all agents would be back within one interval. So the client has to ask here first.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use tower::{Layer, Service};

/// Whether connecting is allowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<AtomicBool>);

/// A connector behind a gate.
#[derive(Clone, Debug)]
pub(super) struct Guarded<S> {
    gate: Gate,
    connector: S,
}

/// Connecting was not allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed;

impl Gate {
    pub(super) fn set(&self, open: bool) {
        self.0.store(open, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for Gate {
    type Service = Guarded<S>;

    fn layer(&self, connector: S) -> Self::Service {
        Guarded {
            gate: self.clone(),
            connector,
        }
    }
}

impl<R, S: Service<R, Error = Box<dyn Error + Send + Sync>>> Service<R> for Guarded<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        if self.gate.is_open() {
            Either::Left(self.connector.call(request))
        } else {
            Either::Right(ready(Err(Closed.into())))
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is gone, and it is not time for a new one")
    }
}

impl Error for Closed {}
