//! netpol learns Kubernetes NetworkPolicies from real traffic.
//!
//! Data flows one way: packet → edge → graph → policy. The pure core ([`identity`], [`ledger`], [`graph`],
//! [`policy`], [`flows`], [`replay`], [`wire`]) knows no clock, no file, no socket, no `kube` client and no aya; time is an argument.
//! Around it stand the readers and keepers ([`inventory`], [`watch`], [`store`], [`keeper`], [`lead`]), the command line ([`cli`]) with
//! what it asks of a cluster ([`cluster`]), and,
//! behind the feature `ebpf`, the side that sees packets ([`kernel`], [`node`]).

pub mod aggregator;
pub mod allocator;
pub mod cli;
pub mod cluster;
pub mod control;
pub mod controller;
pub mod crd;
pub mod flows;
pub mod graph;
pub mod identity;
pub mod inventory;
pub mod keeper;
#[cfg(feature = "ebpf")]
pub mod kernel;
pub mod lead;
pub mod ledger;
pub mod metrics;
#[cfg(feature = "ebpf")]
pub mod node;
pub mod observe;
pub mod policy;
pub mod replay;
mod sqlite;
pub mod store;
pub mod trouble;
pub mod uplink;
pub mod watch;
pub mod wire;
