//! Edges as the kernel counts them: who opened connections to whom, on which interface.

/// Which end of an edge the interface's pod is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Direction {
    /// The pod is the client: it sent the SYN, the INIT or the first datagram.
    Egress = 0,
    /// The pod is the server.
    Ingress = 1,
}

/// Key of the maps `EDGES` and `ATTEMPTS`.
///
/// Addresses are IPv6 in network order, IPv4 as IPv4-mapped (RFC 4291, 2.5.5.2); a packet that carries a mapped
/// address on the wire is never an edge, so the two cannot be confused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(C)]
pub struct EdgeKey {
    /// The handle that user space gave this interface; never used twice within an epoch, unlike an ifindex.
    pub interface: u32,
    /// The port that the server listens on, in host order.
    pub port: u16,
    /// [`super::TCP`], [`super::UDP`] or [`super::SCTP`].
    pub protocol: u8,
    /// A [`Direction`].
    pub direction: u8,
    /// The address on the pod's side of the interface.
    pub local: [u8; 16],
    /// The address on the other side.
    pub remote: [u8; 16],
}

/// Value of the maps `EDGES` and `ATTEMPTS`: cumulative counts that never fall while the entry lives.
///
/// The counts of one key are the sum over both maps. `ATTEMPTS` holds what was not answered when it was sent,
/// `EDGES` what was answered at least once and every attempt after that.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct EdgeValue {
    /// TCP and SCTP: connection attempts, retransmissions counted once. UDP: datagrams that the client sent.
    pub attempts: u64,
    /// TCP and SCTP: attempts answered by a SYN-ACK or INIT-ACK. UDP: datagrams that the server sent.
    pub answered: u64,
    /// Attempts answered by a reset, an abort or an ICMP unreachable.
    pub refused: u64,
    /// When the entry was made, in nanoseconds of `CLOCK_MONOTONIC`.
    pub first_seen: u64,
    /// The last attempt or answer, in nanoseconds of `CLOCK_MONOTONIC`.
    pub last_seen: u64,
}

/// Record of the ring buffer `SIGHTS`: an edge was just added to `EDGES`. A hint only; the map is the truth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct FirstSight {
    /// The key of the new entry.
    pub key: EdgeKey,
    /// When it was made, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
}

/// A key that the kernel program cannot have written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidKey;

impl Direction {
    /// The direction of a raw key.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] if `raw` is neither direction.
    pub fn from_raw(raw: u8) -> Result<Self, InvalidKey> {
        match raw {
            0 => Ok(Self::Egress),
            1 => Ok(Self::Ingress),
            _ => Err(InvalidKey),
        }
    }
}

impl EdgeKey {
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads a key as the kernel wrote it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            interface: u32::from_ne_bytes(part(bytes, 0)),
            port: u16::from_ne_bytes(part(bytes, 4)),
            protocol: bytes[6],
            direction: bytes[7],
            local: part(bytes, 8),
            remote: part(bytes, 24),
        }
    }

    /// The bytes of the key as the kernel reads them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..4].copy_from_slice(&self.interface.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.port.to_ne_bytes());
        bytes[6] = self.protocol;
        bytes[7] = self.direction;
        bytes[8..24].copy_from_slice(&self.local);
        bytes[24..40].copy_from_slice(&self.remote);
        bytes
    }
}

impl EdgeValue {
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads a value as the kernel wrote it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            attempts: u64::from_ne_bytes(part(bytes, 0)),
            answered: u64::from_ne_bytes(part(bytes, 8)),
            refused: u64::from_ne_bytes(part(bytes, 16)),
            first_seen: u64::from_ne_bytes(part(bytes, 24)),
            last_seen: u64::from_ne_bytes(part(bytes, 32)),
        }
    }

    /// The bytes of the value as the kernel reads them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let words = [
            self.attempts,
            self.answered,
            self.refused,
            self.first_seen,
            self.last_seen,
        ];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

impl FirstSight {
    /// Size in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// Reads a record as the kernel wrote it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            key: EdgeKey::from_bytes(&part(bytes, 0)),
            time: u64::from_ne_bytes(part(bytes, 40)),
        }
    }
}

/// `N` bytes of `bytes` from `at` on.
pub(super) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

const _: () = assert!(EdgeKey::SIZE == 40 && EdgeValue::SIZE == 40 && FirstSight::SIZE == 48);
