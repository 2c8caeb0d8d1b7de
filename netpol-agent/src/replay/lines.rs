//! Inputs of lines: which line is wrong, and what to do with it.

use std::io::BufRead;

use super::{ReplayError, Summary};
use crate::flows::{BadLines, Line, Lines};

/// Hands every line that is not empty to `each`; what that returns as an error is said of the line.
pub(super) fn read(
    input: &str,
    reader: impl BufRead,
    bad: BadLines,
    bound: usize,
    mut each: impl FnMut(&str, &mut Summary) -> Result<(), String>,
) -> Result<Summary, ReplayError> {
    let mut lines = Lines::new(reader, bound);
    let mut summary = Summary::default();
    let mut number = 0;
    while let Some(line) = lines.next().map_err(|source| ReplayError::Read {
        input: input.to_owned(),
        unit: "line",
        number,
        source,
    })? {
        number += 1;
        let text = match line {
            Line::Whole(bytes) => std::str::from_utf8(bytes)
                .map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1)),
            Line::TooLong => Err(format!("longer than {bound} bytes")),
        };
        let done = match text.map(str::trim) {
            Ok("") => Ok(()),
            Ok(text) => {
                summary.read += 1;
                each(text, &mut summary)
            }
            Err(problem) => Err(problem),
        };
        match done {
            Ok(()) => {}
            Err(problem) if bad == BadLines::Skip => summary.skip(number, problem),
            Err(problem) => {
                return Err(ReplayError::Bad {
                    input: input.to_owned(),
                    unit: "line",
                    number,
                    problem,
                });
            }
        }
    }
    Ok(summary)
}
