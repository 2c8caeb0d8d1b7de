//! What user space tells the kernel program about an interface, and what the program counts per interface.

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
    /// Handshake packets seen towards the pod.
    pub handshakes_to_pod: u64,
    /// Handshakes whose answer was proven by the pod's later packets although no answer was seen.
    pub unseen_answers: u64,
}

impl InterfaceConfig {
    /// Set in `flags` when packets towards the pod do not pass the host's side of this interface.
    pub const ONE_SIDED: u32 = 1;
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();
}

impl InterfaceStats {
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();
}

const _: () = assert!(InterfaceConfig::SIZE == 24 && InterfaceStats::SIZE == 72);
