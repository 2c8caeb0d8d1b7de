//! What the kernel program decides, apart from the kernel.
//!
//! [`packet`] reads headers from any source of bytes; [`decide`](decide()) says what a packet means for edges, over
//! any [`Store`]. The program (`main.rs`) runs both over packets and BPF maps; host tests and the fuzzer run the
//! same code over slices and a fake store. Nothing here calls a helper, allocates or panics.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod atomic;
mod counts;
mod decide;
#[cfg(feature = "host")]
pub mod host;
mod key;
pub mod packet;
mod pending;
mod store;

pub use counts::{Counts, Stats};
pub use decide::{decide, decide_on, other_protocol};
pub use key::{Key, MAPPED, Side};
pub use pending::{SETS, Set};
pub use store::{Inserted, Interface, Store, Table};
