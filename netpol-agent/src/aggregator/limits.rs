//! Every bound of the aggregator in one place.

use std::time::Duration;

pub(super) use crate::observe::NODE_ADDRESSES;

/// How much is taken from whom, and how long it is waited for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_peer: usize,
    /// For a TLS handshake, and for the first request after it.
    pub handshake: Duration,
    /// For the header of a request; also how long a connection may be idle.
    pub idle: Duration,
    /// For the body of a request, from its first byte to its last, and for room to read it into.
    pub body: Duration,
    /// Bytes of bodies that are read at the same time.
    pub bodies: usize,
    /// Bytes of batches that are decoded and not yet durable.
    pub undurable: usize,
    /// Bodies that are decoded at the same time.
    pub decoding: usize,
    /// For batches to become durable.
    pub commit: Duration,
    /// Requests of one observer at once, and per second in the long run.
    pub requests: (f64, f64),
    /// Edges of one observer at once, and per second in the long run.
    pub edges: (f64, f64),
    /// Distinct edges of one observer that are kept, over all its epochs.
    pub edges_per_node: usize,
    /// Epochs of one observer that are kept.
    pub epochs_per_node: usize,
    /// Pods on interfaces of one observer of which losses are kept, over all its epochs.
    pub losses_per_node: usize,
    /// Tokens from one address that turn out to be no good at once, and per second in the long run.
    pub failures: (f64, f64),
    /// Streams of flows that are open at the same time.
    pub followers: usize,
    /// Requests of readers that are answered at the same time.
    pub readers: usize,
    /// For a reader to take what it is sent.
    pub read: Duration,
    /// For requests under way when the process is told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8_192,
            connections_per_peer: 64,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(30),
            bodies: 64 << 20,
            undurable: 64 << 20,
            decoding: 2,
            commit: Duration::from_secs(60),
            requests: (20.0, 1.0),
            edges: (400_000.0, 10_000.0),
            edges_per_node: 500_000,
            epochs_per_node: 1_000,
            losses_per_node: 100_000,
            failures: (20.0, 0.5),
            followers: 64,
            readers: 4,
            read: Duration::from_secs(120),
            grace: Duration::from_secs(20),
        }
    }
}

/// Edges of one batch.
pub(super) const EDGES: usize = 100_000;
/// Losses of one batch.
pub(super) const LOSSES: usize = 10_000;
/// Batches of one delivery.
pub(super) const BATCHES: usize = 1_000;
/// Bytes of a name in Kubernetes, of a UID or a boot id.
pub(super) const NAME: usize = 253;
/// How far a node's clock may be ahead of ours.
pub(super) const AHEAD: Duration = Duration::from_secs(300);
