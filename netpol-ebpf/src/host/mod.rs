//! The maps in memory, and frames to feed to them: what tests, the fuzzer and benchmarks run the program's logic with.

mod fake;
mod frame;
pub mod golden;
pub mod invariants;
pub mod script;

pub use fake::{Fake, LIMITS, Limits};
pub use frame::{Frame, icmp_unreachable};
