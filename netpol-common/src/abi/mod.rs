//! The contract between the kernel program and user space.
//!
//! Records are plain `repr(C)` structures whose fields leave no padding, in the byte order of the machine; user
//! space reads them from map values by [`EdgeKey::from_bytes`] and its like. Any change of a layout or of a
//! meaning here is a new [`ABI_VERSION`].

mod counters;
mod edge;
mod interface;
mod meta;

pub use counters::{Counters, EVENTS, Event, FATES, Fate};
pub use edge::{Direction, EdgeKey, EdgeValue, FirstSight, InvalidKey};
pub use interface::{
    INTERFACE_PROBES, INTERFACE_SLOTS, InterfaceConfig, InterfaceStats, interface_slot,
};
pub use meta::Meta;

/// Version of every layout and meaning in this module; part of the pin path and of an epoch.
pub const ABI_VERSION: u32 = 1;
/// The IP protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;
/// The IP protocol number of UDP (RFC 768).
pub const UDP: u8 = 17;
/// The IP protocol number of SCTP (RFC 9260).
pub const SCTP: u8 = 132;
