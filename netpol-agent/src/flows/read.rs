//! Reading flow records.

use std::io::{self, BufRead};

use netpol_common::record::FlowRecord;

use super::lines::{Line, Lines};

/// How long a line may be, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// What to do with a line that is no flow record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BadLines {
    /// Stop with an error that names it.
    #[default]
    Fail,
    /// Count it and go on.
    Skip,
}

/// What was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// How many flow records.
    pub records: u64,
    /// How many lines were skipped.
    pub skipped: u64,
    /// The first line that was skipped, and why.
    pub first_skipped: Option<(u64, Problem)>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Longer than [`MAX_LINE`].
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not UTF-8 text.
    #[error("not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// Not a JSON object, or a field that does not decode.
    #[error("not a flow record: {0}")]
    NotARecord(String),
    /// `last_seen` lies before `time`.
    #[error("last_seen lies before time")]
    EndsBeforeStart,
}

/// Flow records that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// A line is no flow record.
    #[error("{input}, line {line}: {problem}")]
    BadLine {
        /// The file, or how else the input is called.
        input: String,
        /// The line, from 1 on.
        line: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// The input broke off.
    #[error("{input} cannot be read after line {line}")]
    Read {
        /// The file, or how else the input is called.
        input: String,
        /// The last line that was read.
        line: u64,
        /// Why.
        source: io::Error,
    },
}

/// Reads JSON Lines and hands every record to `each`. Empty lines are passed over. `input` is the name that errors
/// give the input.
///
/// # Errors
///
/// [`FlowsError::Read`] if the input breaks off; [`FlowsError::BadLine`] for the first bad line unless those are
/// skipped. Records before it were handed on.
pub fn read(
    input: &str,
    reader: impl BufRead,
    bad_lines: BadLines,
    mut each: impl FnMut(FlowRecord),
) -> Result<Summary, FlowsError> {
    read_numbered(input, reader, bad_lines, |_, record| each(record))
}

/// As [`read`], and hands on with each record the number of its line, from 1 on.
///
/// # Errors
///
/// As [`read`].
pub fn read_numbered(
    input: &str,
    reader: impl BufRead,
    bad_lines: BadLines,
    mut each: impl FnMut(u64, FlowRecord),
) -> Result<Summary, FlowsError> {
    let mut lines = Lines::new(reader, MAX_LINE);
    let mut summary = Summary::default();
    let mut number = 0_u64;
    while let Some(line) = lines.next().map_err(|source| FlowsError::Read {
        input: input.to_owned(),
        line: number,
        source,
    })? {
        number += 1;
        match parse(line, number == 1) {
            Ok(None) => {}
            Ok(Some(record)) => {
                summary.records += 1;
                each(number, record);
            }
            Err(problem) if bad_lines == BadLines::Skip => summary.skip(number, problem),
            Err(problem) => {
                return Err(FlowsError::BadLine {
                    input: input.to_owned(),
                    line: number,
                    problem,
                });
            }
        }
    }
    Ok(summary)
}

impl Summary {
    fn skip(&mut self, line: u64, problem: Problem) {
        self.skipped += 1;
        self.first_skipped.get_or_insert((line, problem));
    }
}

/// The record of a line, or nothing if the line is empty. Only the first line may begin with a byte order mark.
fn parse(line: Line<'_>, first: bool) -> Result<Option<FlowRecord>, Problem> {
    let Line::Whole(bytes) = line else {
        return Err(Problem::TooLong);
    };
    let text =
        std::str::from_utf8(bytes).map_err(|error| Problem::NotUtf8(error.valid_up_to() + 1))?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) if first => rest,
        _ => text,
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let record: FlowRecord =
        serde_json::from_str(text).map_err(|error| Problem::NotARecord(reason(&error)))?;
    match record.span() {
        Some((first, last)) if last < first => Err(Problem::EndsBeforeStart),
        _ => Ok(Some(record)),
    }
}

/// The message of an error, with the column but without the line, which is always the first.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) => format!("{text} (column {})", error.column()),
        None => text,
    }
}
