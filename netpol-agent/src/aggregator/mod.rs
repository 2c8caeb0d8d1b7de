//! The aggregator: takes in what the node agents of a cluster deliver, and answers who reads it.
//!
//! Whatever comes in is bounded before it is looked at: connections, headers, bodies, what they decompress to, and how
//! often somebody comes. A delivery is acknowledged once it is durable; a refused one leaves nothing behind. Every refusal
//! says why, as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) has it, and is counted by its reason.

mod app;
mod auth;
mod batches;
mod belongs;
mod body;
mod door;
mod intake;
mod keeping;
mod limits;
mod metrics;
mod openapi;
mod probes;
mod query;
mod rates;
mod read;
mod refusal;
mod routes;
mod run;
mod sane;
mod server;
mod start;
mod tls;

pub use intake::Intake;
pub use keeping::Keeping;
pub use limits::Limits;
pub use metrics::METRICS;
pub use openapi::document;
pub use read::{ObserverStatus, Status};
pub use refusal::{REASONS, Refusal};
pub use run::{Options, run};
pub use start::{AggregatorError, Parts, Running, start};
pub use tls::{TlsError, TlsSource};
