//! Where headers are read from.

use super::Stop;

/// A packet from its Ethernet header on.
pub trait Bytes {
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
}

impl Bytes for &[u8] {
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
