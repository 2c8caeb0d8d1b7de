//! The policy engine: from the flow graph to NetworkPolicies. Pure: no clock, no I/O, no kube client.
//!
//! [`synthesise`] turns a [`FlowGraph`](crate::graph::FlowGraph) and a [`Cluster`] into a [`Proposal`]: one policy
//! for each workload with learned edges, and findings about everything that a person should know before trusting
//! it. [`emit`] writes policies, one module for each format. [`evaluate`] judges traffic under policies as
//! Kubernetes specifies it, and shares no code with the synthesiser: it is its judge.

mod about;
pub mod against;
mod atlas;
mod boxes;
pub mod check;
pub mod cluster;
mod common;
mod component;
pub mod connectivity;
mod cover;
pub mod coverage;
mod deny;
pub mod diff;
mod dns;
pub mod emit;
mod entities;
pub mod evaluate;
pub mod explain;
pub mod finding;
mod gathered;
mod ignored;
mod labels;
mod learn;
mod lessons;
mod making;
pub mod model;
mod names;
mod nets;
pub mod options;
pub mod outside;
mod peers;
mod ports;
mod profile;
mod proposer;
pub mod read;
mod reject;
mod remarks;
mod rules;
mod selector;
mod selectors;
mod synthesis;
mod synthesiser;
mod text;
pub mod validate;
mod widen;
pub mod widening;
mod workloads;
mod writer;

#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use finding::Finding;
pub use model::{
    Basis, Direction, Entity, EntityRule, NAMESPACE, Policy, PolicyPeer, PortSpec, Proposal, Rule,
    Selector, Support, WrittenAs,
};
pub use names::{other_name, policy_names};
pub use options::{Dns, OneWay, Options, OptionsFor};
pub use rules::Excess;
pub use synthesis::{EdgesOf, Synthesis, synthesise, synthesise_for};
pub use synthesiser::Synthesiser;
pub use widening::Widening;
