//! Attaching the two classifiers to the host's side of veths, and detaching exactly ours.
//!
//! [`decide`] picks the mechanism from what [`crate::node::probe`] found. An [`Attacher`] then keeps both programs on
//! every interface it is told of: in front of the chain as best effort, beside whatever other programs are attached,
//! none of which it ever replaces or removes. Links are pinned and filters outlive their process, so the next process
//! adopts them and swaps the program in place. [`detach`] removes every trace of an instance.

mod attacher;
mod chain;
mod claim;
mod clsact;
mod decide;
mod detach;
mod device;
mod error;
mod fault;
mod hook;
mod label;
mod pins;
pub(crate) mod sys;
mod tcx;

pub use attacher::{Adopted, Attacher, Options, Outcome, State};
pub use claim::Claim;
pub use decide::{AttachChoice, MINIMUM_KERNEL, Mechanism, Plan, TCX_KERNEL, decide};
pub use detach::{Removed, RemovedFilter, detach, entries};
pub use error::AttachError;
pub use hook::{Hook, Programs};
pub use pins::{Instance, PinRoot};
pub(in crate::node) use pins::{LONGEST, shorten};
