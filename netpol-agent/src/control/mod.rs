//! The controller's decisions: from what was learned, what people want and what is there, to what is to be written.
//!
//! Pure: no clock, no I/O, no client. [`decide`] is asked again and again with the newest [`Facts`]; asked twice without
//! anything having changed, it wants nothing written the second time. What lasts from one decision to the next is in the
//! status of the proposals, so that a controller that starts anew goes on where the last one stopped.
//!
//! What holds whatever happens:
//! - Only what is [ours](Live::is_ours) is changed or deleted.
//! - While edges are frozen, a policy allows what was frozen or approved, less what was rejected, and nothing else that
//!   options do not ask for.
//! - Nothing is put into force while a [gate](Against) is shut.
//! - Nothing is written into a namespace that is being deleted.

mod answer;
mod basis;
mod change;
mod complete;
mod decide;
mod edges;
mod enforce;
mod facts;
mod gates;
mod gone;
mod mode;
mod ours;
mod propose;
mod rollback;
mod rollout;
mod subject;
#[cfg(test)]
mod tests;
mod violations;

pub use basis::{Basis, Folded, Overrides};
pub use change::{Change, Decision, Event, Figures, Step};
pub use decide::{Memory, decide};
pub use facts::{Facts, Live, Namespace, Proposal, Settings};
pub use gates::{Against, Protected, yields_to_force};
pub use mode::{Asked, Chosen, Edges, Label, TRANSITIONS, Transition, choose, transition};
pub use ours::{FIELD_MANAGER, applied_by_us, is_ours};
pub use rollback::{InvalidTrigger, Trigger};
