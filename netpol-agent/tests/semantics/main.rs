//! What NetworkPolicies mean, sentence by sentence of their reference, and which of them the API server takes.

mod api_server;
mod case;
mod commands;
mod sentences;
