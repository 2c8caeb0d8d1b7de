//! What xtask tells people: results on standard output, progress on standard error.

use std::fmt::Display;
use std::io::Write as _;

/// A line of a result.
pub fn result(line: impl Display) {
    // Nobody is left to tell if the reader has gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line about what is being done.
pub fn progress(line: impl Display) {
    // As above.
    let _ = writeln!(std::io::stderr(), "{line}");
}
