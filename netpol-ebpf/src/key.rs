//! The key of an edge as the program builds it, and which way a packet goes.

use netpol_common::abi::{Direction, EdgeKey};

/// The third word of an IPv4-mapped address (RFC 4291, 2.5.5.2), as it stands in memory.
pub const MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// Which way a packet goes past the host's side of the interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The pod sent it.
    FromPod,
    /// It goes to the pod.
    ToPod,
}

/// An [`EdgeKey`] in words, so that the program handles addresses without bytewise copies.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C, align(8))]
pub struct Key {
    /// See [`EdgeKey::interface`].
    pub interface: u32,
    /// See [`EdgeKey::port`].
    pub port: u16,
    /// See [`EdgeKey::protocol`].
    pub protocol: u8,
    /// See [`EdgeKey::direction`].
    pub direction: u8,
    /// See [`EdgeKey::local`].
    pub local: [u32; 4],
    /// See [`EdgeKey::remote`].
    pub remote: [u32; 4],
}

impl Side {
    /// The other way.
    #[must_use]
    #[inline(always)]
    pub const fn opposite(self) -> Self {
        match self {
            Self::FromPod => Self::ToPod,
            Self::ToPod => Self::FromPod,
        }
    }

    /// The direction of an edge whose client sent a packet this way.
    #[must_use]
    #[inline(always)]
    pub const fn sent_by_client(self) -> Direction {
        match self {
            Self::FromPod => Direction::Egress,
            Self::ToPod => Direction::Ingress,
        }
    }

    /// The direction of an edge whose server sent a packet this way.
    #[must_use]
    #[inline(always)]
    pub const fn sent_by_server(self) -> Direction {
        self.opposite().sent_by_client()
    }
}

impl Key {
    /// The key as user space reads it.
    #[must_use]
    #[inline(always)]
    pub const fn as_edge_key(&self) -> &EdgeKey {
        let key: *const Self = self;
        // SAFETY: both are 40 bytes without padding and with the same fields at the same places (asserted below);
        // the alignment of EdgeKey is less, and every byte pattern is valid for it.
        unsafe { &*key.cast::<EdgeKey>() }
    }

    /// The key as five words, for hashing.
    #[must_use]
    #[inline(always)]
    pub const fn words(&self) -> &[u64; 5] {
        let key: *const Self = self;
        // SAFETY: 40 bytes without padding, aligned to 8.
        unsafe { &*key.cast::<[u64; 5]>() }
    }
}

const _: () = {
    assert!(size_of::<Key>() == EdgeKey::SIZE);
    assert!(core::mem::offset_of!(Key, interface) == core::mem::offset_of!(EdgeKey, interface));
    assert!(core::mem::offset_of!(Key, port) == core::mem::offset_of!(EdgeKey, port));
    assert!(core::mem::offset_of!(Key, protocol) == core::mem::offset_of!(EdgeKey, protocol));
    assert!(core::mem::offset_of!(Key, direction) == core::mem::offset_of!(EdgeKey, direction));
    assert!(core::mem::offset_of!(Key, local) == core::mem::offset_of!(EdgeKey, local));
    assert!(core::mem::offset_of!(Key, remote) == core::mem::offset_of!(EdgeKey, remote));
};
