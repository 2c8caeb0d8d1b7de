//! Asking a cluster: its API server with the credential of a kubeconfig, and netpol's aggregator through it.
//!
//! The aggregator is reached through the API server's port-forward, with TLS inside against netpol's own certificate
//! authority, and with a short token that the API server mints for the ServiceAccount `netpol-viewer`: whoever may mint
//! one may read. What the kubeconfig holds goes to the API server and to nobody else, since nothing that is sent into
//! a [`tunnel`] is made from it.

pub mod access;
mod connect;
mod error;
pub mod manifests;
pub mod overview;
mod problem;
mod read;
mod session;
pub mod tunnel;

pub use connect::{Cluster, Target};
pub use error::ClusterError;
pub use read::{Question, Reply};
pub use session::{Reader, Session};
