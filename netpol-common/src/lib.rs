//! What the kernel program and user space of netpol share, and the words of its domain.
//!
//! [`abi`] is the contract between the kernel program and user space: map keys, map values, counters and
//! [`abi::ABI_VERSION`]. It needs no allocator. The other modules, behind the feature `std`, are the words that
//! everything above the kernel speaks: protocols, outcomes, names of Kubernetes objects, flow records.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod abi;
#[cfg(feature = "std")]
pub mod names;
#[cfg(feature = "std")]
pub mod record;
#[cfg(feature = "std")]
pub mod words;

/// The API group and label prefix of everything that netpol puts into or reads from the Kubernetes API.
pub const GROUP: &str = "netpol.io";
/// The name of the command for people, as `kubectl` finds it on the path.
pub const COMMAND: &str = "kubectl-netpol";
