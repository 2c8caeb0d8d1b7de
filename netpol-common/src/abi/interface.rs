//! What user space tells the kernel program about an interface, and what the program counts per interface.

use super::edge::part;

/// Value of the map `INTERFACES`, written by user space only. The slot of an interface is found from its ifindex.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct InterfaceConfig {
    /// The ifindex that this slot is for; 0 while the slot is free.
    pub ifindex: u32,
    /// The handle that goes into every [`super::EdgeKey`].
    pub interface: u32,
    /// Bits: [`InterfaceConfig::ONE_SIDED`].
    pub flags: u32,
    /// How many entries of `ATTEMPTS` this interface may hold.
    pub quota: u32,
    /// How many entries of `ATTEMPTS` user space has deleted so far for this interface.
    pub freed: u64,
}

/// Value of the map `INTERFACE_STATS`, written by the kernel program only, at the slot of the interface's
/// configuration. Cumulative over the life of the interface handle.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct InterfaceStats {
    /// Entries ever made in `ATTEMPTS`.
    pub attempts_made: u64,
    /// Edges that found no room in `EDGES`.
    pub edges_lost: u64,
    /// Attempts that found no room in `ATTEMPTS`, by quota or because the map was full.
    pub attempts_lost: u64,
    /// Of `attempts_lost`, those that became an edge all the same, since they were answered.
    pub attempts_recovered: u64,
    /// Pending handshakes that had to give their slot to another.
    pub slots_lost: u64,
    /// Packets of protocols that make no edges (neither TCP, UDP, SCTP nor ICMP).
    pub other_protocol: u64,
    /// Handshake packets (SYN, SYN-ACK, RST, INIT …) seen from the pod.
    pub handshakes_from_pod: u64,
    /// Answers to handshakes (SYN-ACK, RST, INIT ACK, ABORT) seen towards the pod.
    pub handshakes_to_pod: u64,
    /// Handshakes whose answer was proven by the pod's later packets although no answer was seen.
    pub unseen_answers: u64,
    /// One-sided interfaces: when the pod last sent a SYN or INIT, in nanoseconds of `CLOCK_MONOTONIC`.
    pub last_attempt: u64,
}

/// Entries of the maps `INTERFACES` and `INTERFACE_STATS`; a power of two.
pub const INTERFACE_SLOTS: u32 = 4096;
/// How many slots, one after the other, may hold an ifindex.
pub const INTERFACE_PROBES: u32 = 8;

/// The slot that is tried at `probe` (from 0 to below [`INTERFACE_PROBES`]) for `ifindex`. Kernels number
/// interfaces upwards, so that neighbours rarely share their first slot.
#[must_use]
#[inline(always)]
pub const fn interface_slot(ifindex: u32, probe: u32) -> u32 {
    ifindex.wrapping_add(probe) & (INTERFACE_SLOTS - 1)
}

impl InterfaceConfig {
    /// Set in `flags` when packets towards the pod do not pass the host's side of this interface.
    pub const ONE_SIDED: u32 = 1;
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Whether packets towards the pod do not pass the host's side.
    #[must_use]
    pub fn one_sided(&self) -> bool {
        self.flags & Self::ONE_SIDED != 0
    }

    /// Reads a record as it stands in the map.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |index: usize| u32::from_ne_bytes(part(bytes, index * 4));
        Self {
            ifindex: word(0),
            interface: word(1),
            flags: word(2),
            quota: word(3),
            freed: u64::from_ne_bytes(part(bytes, 16)),
        }
    }

    /// The bytes of the record as the kernel program reads them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let words = [self.ifindex, self.interface, self.flags, self.quota];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[16..].copy_from_slice(&self.freed.to_ne_bytes());
        bytes
    }
}

impl InterfaceStats {
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads a record as the kernel wrote it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |index: usize| u64::from_ne_bytes(part(bytes, index * 8));
        Self {
            attempts_made: word(0),
            edges_lost: word(1),
            attempts_lost: word(2),
            attempts_recovered: word(3),
            slots_lost: word(4),
            other_protocol: word(5),
            handshakes_from_pod: word(6),
            handshakes_to_pod: word(7),
            unseen_answers: word(8),
            last_attempt: word(9),
        }
    }
}

const _: () = assert!(InterfaceConfig::SIZE == 24 && InterfaceStats::SIZE == 80);
