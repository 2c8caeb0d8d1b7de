//! Where headers are read from.

use super::{Stop, ip};

/// A packet from its Ethernet header on.
pub trait Bytes {
    /// Whether only what is common is read from this source, at places known beforehand: TCP and UDP right behind an
    /// IPv4 header without options or an IPv6 header, without tags. All else ends in [`Stop::Deep`].
    ///
    /// The kernel's verifier follows every combination of places in a packet that is read directly; a packet that is
    /// read by a helper costs it nothing, but each read costs the packet.
    const SHALLOW: bool;

    /// `N` words from byte `at` on, as they stand in memory (network order on the wire).
    ///
    /// # Errors
    ///
    /// [`Stop::Short`] if the source ends before.
    fn words<const N: usize>(&self, at: u32) -> Result<[u32; N], Stop>;

    /// Two bytes from byte `at` on, as a number.
    ///
    /// # Errors
    ///
    /// [`Stop::Short`] if the source ends before.
    fn half(&self, at: u32) -> Result<u16, Stop>;

    /// Follows IPv6 extension headers, of which the one at byte `at` is of type `first`, to the transport header: its
    /// protocol and place.
    ///
    /// # Errors
    ///
    /// [`Stop::Short`] if the source ends before, or the fate of the packet if it has no transport header to read.
    #[inline(always)]
    fn extensions(&self, first: u32, at: u32) -> Result<(u32, u32), Stop>
    where
        Self: Sized,
    {
        ip::follow_extensions(self, first, at)
    }
}

/// The part of a packet that can be read directly, in tests.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a>(pub &'a [u8]);

impl Bytes for Head<'_> {
    const SHALLOW: bool = true;

    fn words<const N: usize>(&self, at: u32) -> Result<[u32; N], Stop> {
        self.0.words(at)
    }

    fn half(&self, at: u32) -> Result<u16, Stop> {
        self.0.half(at)
    }
}

impl Bytes for &[u8] {
    const SHALLOW: bool = false;

    fn words<const N: usize>(&self, at: u32) -> Result<[u32; N], Stop> {
        let mut words = [0; N];
        let bytes = usize::try_from(at).ok().and_then(|at| self.get(at..));
        let (whole, _) = bytes.ok_or(Stop::Short)?.as_chunks::<4>();
        let from = whole.get(..N).ok_or(Stop::Short)?;
        for (to, from) in words.iter_mut().zip(from) {
            *to = u32::from_ne_bytes(*from);
        }
        Ok(words)
    }

    fn half(&self, at: u32) -> Result<u16, Stop> {
        let bytes = usize::try_from(at).ok().and_then(|at| self.get(at..));
        let half = bytes.and_then(<[u8]>::first_chunk).ok_or(Stop::Short)?;
        Ok(u16::from_be_bytes(*half))
    }
}
