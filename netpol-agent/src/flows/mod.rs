//! Flow records as JSON Lines: reading with the line named in every error, and writing.
//!
//! Reading holds one line at a time, whatever the size of the input; what is to be kept of a record is for the
//! caller to say.

mod lines;
mod read;
mod told;
mod write;

pub(crate) use lines::{Line, Lines};
pub use read::{BadLines, FlowsError, MAX_LINE, Problem, Summary, read, read_numbered};
pub(crate) use told::{Joined, Told};
pub use write::write;
