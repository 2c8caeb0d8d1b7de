//! Which pod an interface belongs to, by the strongest evidence there is.
//!
//! [`Binder`] gathers [`Facts`] from the kernel and from files; [`decide`] judges them and does no I/O.

mod cgroup;
mod cni;
mod decide;
mod facts;
mod gather;
mod kernel;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

pub(super) use cgroup::pod_uids;
use serde::{Deserialize, Serialize};

pub use decide::decide;
pub use facts::{CniPod, CniResult, Facts, FdbEntry, HostRoute, Neighbour, Sandbox};

use crate::identity::objects::Pod;
use crate::node::links::Link;
use crate::observe::PodIdentity;

/// What ties an interface to a pod, the strongest first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// A process in the pod's cgroup lives in the network namespace at the other end.
    Process,
    /// A result that the CNI plugin left behind names the interface or its namespace.
    CniCache,
    /// The host routes an address of the pod to the interface.
    HostRoute,
    /// A bridge learned the hardware address of a neighbour with the pod's address on the interface.
    BridgeFdb,
    /// The first source address seen on the interface is one that the API gives to that pod only.
    FirstSource,
}

/// An interface's pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// The pod.
    pub pod: PodIdentity,
    /// Its addresses, sorted: those the API and the evidence tell, and its link-local ones as far as they are
    /// known. See [`crate::node::ownership::judge`].
    pub addresses: Vec<IpAddr>,
    /// What the binding rests on.
    pub evidence: Evidence,
}

/// Where evidence is looked for.
#[derive(Clone, Debug)]
pub struct BindOptions {
    /// The process file system: `/proc`, or where the host's is mounted.
    pub proc: PathBuf,
    /// Directories with the results that libcni keeps.
    pub cni_cache: Vec<PathBuf>,
}

impl Evidence {
    /// Whether later evidence may still name another pod.
    #[must_use]
    pub fn is_provisional(self) -> bool {
        self == Self::FirstSource
    }
}

impl Default for BindOptions {
    fn default() -> Self {
        let cache = ["/var/lib/cni/results", "/var/lib/cni/cache/results"];
        Self {
            proc: "/proc".into(),
            cni_cache: cache.map(PathBuf::from).into(),
        }
    }
}

/// Gathers evidence in the network namespace of the thread that calls it.
#[derive(Clone, Debug, Default)]
pub struct Binder {
    options: BindOptions,
}

impl Binder {
    /// A binder that looks where `options` say.
    #[must_use]
    pub fn new(options: BindOptions) -> Self {
        Self { options }
    }

    /// Binds as many of `links` as can be to `pods`, the pods of this node; by ifindex. `sources` are the first
    /// source addresses seen on interfaces, by ifindex. Must run in the network namespace of `links`.
    ///
    /// What cannot be read counts as absent and is logged: weaker evidence may do.
    #[must_use]
    pub fn bind(
        &self,
        links: &[Link],
        pods: &[Pod],
        sources: &BTreeMap<u32, IpAddr>,
    ) -> BTreeMap<u32, Binding> {
        decide(links, pods, &self.gather(links, sources))
    }
}
