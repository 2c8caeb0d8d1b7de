//! The map `META`: what belongs to a set of maps as a whole.

/// Index of an entry of the map `META`, each a `u64`. Written by user space only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Meta {
    /// Drawn when the maps were made; with the boot id and [`super::ABI_VERSION`] it names the epoch. Never 0.
    Instance,
    /// The next interface handle to give away.
    NextInterface,
    /// Seed of the hash that finds slots of pending handshakes, so that nobody outside can aim at one.
    Seed,
    /// How many interfaces are one-sided: while 0, plain TCP segments are not looked at any further.
    OneSided,
}

impl Meta {
    /// The number of entries.
    pub const ENTRIES: usize = 4;
}
