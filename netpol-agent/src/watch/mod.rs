//! The watchers of the API server that feed the identity index.
