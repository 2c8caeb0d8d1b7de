//! The life of interfaces: what is known of each handle, from its first packet until its last edge is delivered.
//!
//! A handle outlives its interface, since the kernel's maps hold its edges until they are delivered; and it outlives
//! this process, since the maps do. So every record here is kept in the [`super::journal`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use netpol_common::abi::{Direction, EdgeKey, InterfaceStats};
use netpol_common::words::Protocol;
use serde::{Deserialize, Serialize};

use super::account::Entry;
use super::bind::Evidence;
use super::ownership::{Ownership, judge};
use crate::kernel::MapKind;
use crate::observe::{Losses, ObservedKey, PodIdentity, Source};

/// What is known of an interface handle.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Interface {
    /// The handle; see [`EdgeKey::interface`].
    pub handle: u32,
    /// The index of the interface while it lived.
    pub ifindex: u32,
    /// Its name, for messages.
    pub name: String,
    /// The pod behind it, once that is known.
    pub bound: Option<Bound>,
    /// Grows whenever something changes under which edges were delivered: the pod, its addresses, one-sidedness.
    pub revision: u32,
    /// Whether packets towards the pod do not pass the host's side.
    pub one_sided: bool,
    /// Whether the pod ran for some time while nobody watched.
    pub gap: bool,
    /// Whether connections older than the observer were looked for.
    pub seeded: bool,
    /// When it was found dead, in nanoseconds of `CLOCK_MONOTONIC`.
    pub dead_since: Option<u64>,
    /// When it got its handle, in nanoseconds of `CLOCK_MONOTONIC`.
    pub since: u64,
    /// How many packets had passed it until then, from and towards the pod.
    pub passed_before: (u64, u64),
    /// How many of its edges were delivered and deleted without ever having been answered.
    #[serde(default)]
    pub unanswered: usize,
    /// How many edges that found no room were known from the map of attempts, and deleted there since.
    #[serde(default)]
    pub recovered: u64,
    /// What the agent itself let go of.
    pub dropped: Dropped,
    /// What the kernel counted for it, as of the last look.
    pub lost: KernelLosses,
}

/// A pod, as it was bound to an interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Bound {
    /// The pod.
    pub pod: PodIdentity,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
    /// What ties it to the interface.
    pub evidence: Evidence,
}

/// Entries that the agent deleted without delivering them, by reason.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Dropped {
    /// Edges that waited too long, or were too many, to learn whose they are.
    pub parked: u64,
    /// Attempts of edges that are not learned, since the pod used somebody else's address.
    pub foreign: u64,
    /// Attempts of edges that are not learned, since somebody else was addressed.
    pub not_for_pod: u64,
    /// Attempts of edges that were never answered, beyond [`UNANSWERED`].
    #[serde(default)]
    pub beyond: u64,
}

/// How many never-answered edges of one interface are delivered within an epoch, besides those that the kernel's map
/// holds. A pod that scans would fill the store with them.
pub const UNANSWERED: usize = 4096;

/// The part of [`InterfaceStats`] that says what makes no edge. None of these counts ever falls, so that they can be
/// merged by maximum.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct KernelLosses {
    /// See [`InterfaceStats::edges_lost`].
    pub edges: u64,
    /// See [`InterfaceStats::attempts_lost`].
    pub attempts: u64,
    /// See [`InterfaceStats::attempts_recovered`].
    pub recovered: u64,
    /// See [`InterfaceStats::slots_lost`].
    pub slots: u64,
    /// See [`InterfaceStats::other_protocol`].
    pub other_protocol: u64,
}

/// What the maps hold at present of one interface, besides edges to be learned.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Attempts from addresses that are not the pod's.
    pub foreign: u64,
    /// Attempts towards addresses that are not the pod's.
    pub not_for_pod: u64,
    /// Edges that found no room, and of which the map of attempts remembers that they were answered.
    pub recovered: u64,
}

/// What is to be done with an edge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is the pod's: delivered.
    Learn,
    /// Whose it is cannot be told yet.
    Park,
    /// The pod used an address that is not its own: counted.
    Foreign,
    /// Addressed to somebody else: counted.
    NotForPod,
    /// The pod's, but never answered, like too many others before: counted.
    Beyond,
}

/// Every interface handle of the epoch that still matters.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    by_handle: BTreeMap<u32, Interface>,
}

impl Interface {
    /// A new handle for a living interface.
    #[must_use]
    pub fn new(handle: u32, ifindex: u32, name: &str) -> Self {
        Self {
            handle,
            ifindex,
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Whether the interface is gone, so that its edges cannot change any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead_since.is_some()
    }

    /// Ties a pod to it. Returns whether anything changed.
    pub fn bind(&mut self, bound: Bound) -> bool {
        let changed = self.bound.as_ref() != Some(&bound);
        if changed {
            self.bound = Some(bound);
            self.revision += 1;
        }
        changed
    }

    /// Takes note of whether it shows one side only. Returns whether that is news.
    pub fn set_one_sided(&mut self, one_sided: bool) -> bool {
        let changed = self.one_sided != one_sided;
        if changed {
            self.one_sided = one_sided;
            self.revision += 1;
        }
        changed
    }

    /// What is to be done with one of its edges.
    #[must_use]
    pub fn verdict(&self, key: &EdgeKey) -> Verdict {
        let (Some(bound), Ok(direction)) = (&self.bound, Direction::from_raw(key.direction)) else {
            return Verdict::Park;
        };
        match judge(direction, address(key.local), &bound.addresses) {
            Ownership::Own => Verdict::Learn,
            Ownership::Undecided => Verdict::Park,
            Ownership::Foreign => Verdict::Foreign,
            Ownership::NotForPod => Verdict::NotForPod,
        }
    }

    /// What is to be done with one of its edges, of which `entry` is known.
    #[must_use]
    pub fn verdict_on(&self, key: &EdgeKey, entry: &Entry) -> Verdict {
        match self.verdict(key) {
            Verdict::Learn if self.unanswered >= UNANSWERED && entry.is_new_attempt() => {
                Verdict::Beyond
            }
            verdict => verdict,
        }
    }

    /// What was lost, given what the maps hold at present.
    #[must_use]
    pub fn losses(&self, held: Held) -> Losses {
        Losses {
            edges_lost: self.lost.edges + self.dropped.parked,
            edges_recovered: self.recovered + held.recovered,
            attempts_lost: self.lost.attempts + self.dropped.beyond,
            attempts_recovered: self.lost.recovered,
            foreign: self.dropped.foreign + held.foreign,
            not_for_pod: self.dropped.not_for_pod + held.not_for_pod,
            observation_gap: self.gap,
        }
    }
}

impl Held {
    /// Adds an entry of which `verdict` holds.
    #[must_use]
    pub fn with(mut self, verdict: Verdict, entry: &Entry) -> Self {
        let attempts = entry.totals().map_or(0, |totals| totals.counts.attempts);
        match verdict {
            Verdict::Foreign => self.foreign += attempts,
            Verdict::NotForPod => self.not_for_pod += attempts,
            Verdict::Learn | Verdict::Park | Verdict::Beyond => {}
        }
        let answered = entry
            .live(MapKind::Attempts)
            .map_or(0, |cell| cell.value.answered);
        self.recovered += u64::from(is_recovered(MapKind::Attempts, verdict, answered));
        self
    }
}

/// Whether an entry stands for an edge that found no room in `EDGES`, and was counted as lost, but is known from it: only
/// then are answers counted in `ATTEMPTS`. What is parked may be lost yet.
#[must_use]
pub fn is_recovered(map: MapKind, verdict: Verdict, answered: u64) -> bool {
    map == MapKind::Attempts && answered > 0 && verdict != Verdict::Park
}

impl From<&InterfaceStats> for KernelLosses {
    fn from(stats: &InterfaceStats) -> Self {
        Self {
            edges: stats.edges_lost,
            attempts: stats.attempts_lost,
            recovered: stats.attempts_recovered,
            slots: stats.slots_lost,
            other_protocol: stats.other_protocol,
        }
    }
}

impl KernelLosses {
    /// What was counted by the later of two looks.
    #[must_use]
    pub fn later(self, stats: &InterfaceStats) -> Self {
        let new = Self::from(stats);
        Self {
            edges: self.edges.max(new.edges),
            attempts: self.attempts.max(new.attempts),
            recovered: self.recovered.max(new.recovered),
            slots: self.slots.max(new.slots),
            other_protocol: self.other_protocol.max(new.other_protocol),
        }
    }
}

impl Interfaces {
    /// The interfaces of an earlier process.
    #[must_use]
    pub fn adopt(kept: impl IntoIterator<Item = Interface>) -> Self {
        let by_handle = kept
            .into_iter()
            .map(|interface| (interface.handle, interface))
            .collect();
        Self { by_handle }
    }

    /// One interface by handle.
    #[must_use]
    pub fn get(&self, handle: u32) -> Option<&Interface> {
        self.by_handle.get(&handle)
    }

    /// One interface by handle, to be changed.
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut Interface> {
        self.by_handle.get_mut(&handle)
    }

    /// The living interface of an index.
    #[must_use]
    pub fn at(&self, ifindex: u32) -> Option<&Interface> {
        self.iter()
            .find(|interface| !interface.is_dead() && interface.ifindex == ifindex)
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, interface: Interface) {
        self.by_handle.insert(interface.handle, interface);
    }

    /// Forgets one.
    pub fn remove(&mut self, handle: u32) -> Option<Interface> {
        self.by_handle.remove(&handle)
    }

    /// All of them, by handle.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.by_handle.values()
    }

    /// What is to be done with an edge; of an interface that is not known, it is parked.
    #[must_use]
    pub fn verdict(&self, key: &EdgeKey) -> Verdict {
        self.get(key.interface)
            .map_or(Verdict::Park, |interface| interface.verdict(key))
    }
}

/// The key of a kernel edge in a batch; `None` if the kernel program cannot have written it.
#[must_use]
pub fn observed(key: &EdgeKey) -> Option<ObservedKey> {
    Some(ObservedKey {
        interface: key.interface,
        source: Source::Kernel,
        direction: Direction::from_raw(key.direction).ok()?,
        protocol: Protocol::from_number(key.protocol)?,
        port: key.port,
        local: address(key.local),
        remote: address(key.remote),
    })
}

/// The key under which the kernel counts an edge.
#[must_use]
pub fn kernel_key(key: &ObservedKey) -> EdgeKey {
    EdgeKey {
        interface: key.interface,
        port: key.port,
        protocol: key.protocol.number(),
        direction: key.direction as u8,
        local: octets(key.local),
        remote: octets(key.remote),
    }
}

/// An address of a kernel key; IPv4 comes as IPv4-mapped.
fn address(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ObjectIdentity;

    fn bound(addresses: &[&str]) -> Bound {
        Bound {
            pod: PodIdentity {
                name: ObjectIdentity {
                    namespace: "shop".to_owned(),
                    name: "web-0".to_owned(),
                },
                uid: "u1".to_owned(),
            },
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            evidence: Evidence::Process,
        }
    }

    fn key(direction: Direction, local: &str) -> EdgeKey {
        kernel_key(&ObservedKey {
            interface: 7,
            source: Source::Kernel,
            direction,
            protocol: Protocol::Tcp,
            port: 80,
            local: local.parse().unwrap(),
            remote: "2001:db8::1".parse().unwrap(),
        })
    }

    #[test]
    fn edges_are_parked_until_the_pod_and_its_addresses_are_known() {
        let mut interfaces = Interfaces::default();
        let edge = key(Direction::Egress, "10.1.0.5");
        assert_eq!(interfaces.verdict(&edge), Verdict::Park);
        let mut interface = Interface::new(7, 3, "veth1");
        interfaces.insert(interface.clone());
        assert_eq!(interfaces.verdict(&edge), Verdict::Park);
        assert!(interface.bind(bound(&[])));
        assert_eq!(interface.verdict(&edge), Verdict::Park);
        assert!(interface.bind(bound(&["10.1.0.5"])) && !interface.bind(bound(&["10.1.0.5"])));
        assert_eq!(interface.revision, 2);
        for (direction, local, expected) in [
            (Direction::Egress, "10.1.0.5", Verdict::Learn),
            (Direction::Ingress, "10.1.0.5", Verdict::Learn),
            (Direction::Egress, "10.1.0.6", Verdict::Foreign),
            (Direction::Ingress, "10.1.0.6", Verdict::NotForPod),
        ] {
            assert_eq!(
                interface.verdict(&key(direction, local)),
                expected,
                "{direction:?} {local}"
            );
        }
    }

    #[test]
    fn only_a_living_interface_is_found_by_index() {
        let mut interfaces = Interfaces::default();
        let dead = Interface {
            dead_since: Some(1),
            ..Interface::new(1, 3, "veth1")
        };
        interfaces.insert(dead);
        assert!(interfaces.at(3).is_none());
        interfaces.insert(Interface::new(2, 3, "veth2"));
        assert_eq!(interfaces.at(3).map(|interface| interface.handle), Some(2));
    }

    #[test]
    fn keys_go_there_and_back() {
        for local in ["10.1.0.5", "fd00::5"] {
            let key = key(Direction::Ingress, local);
            assert_eq!(observed(&key).map(|key| kernel_key(&key)), Some(key));
        }
        let strange = EdgeKey {
            protocol: 47,
            ..key(Direction::Egress, "10.1.0.5")
        };
        assert_eq!(observed(&strange), None);
    }

    #[test]
    fn losses_add_what_the_kernel_and_the_agent_lost() {
        let stats = InterfaceStats {
            edges_lost: 3,
            attempts_lost: 9,
            attempts_recovered: 4,
            ..InterfaceStats::default()
        };
        let interface = Interface {
            recovered: 1,
            dropped: Dropped {
                parked: 2,
                foreign: 10,
                not_for_pod: 20,
                beyond: 7,
            },
            lost: KernelLosses::default().later(&stats),
            gap: true,
            ..Interface::default()
        };
        let expected = Losses {
            edges_lost: 5,
            edges_recovered: 1 + 3,
            attempts_lost: 9 + 7,
            attempts_recovered: 4,
            foreign: 11,
            not_for_pod: 22,
            observation_gap: true,
        };
        let held = Held {
            foreign: 1,
            not_for_pod: 2,
            recovered: 3,
        };
        let losses = interface.losses(held);
        assert_eq!(losses, expected);
        assert_eq!((losses.missing_edges(), losses.missing_attempts()), (1, 12));
    }
}
