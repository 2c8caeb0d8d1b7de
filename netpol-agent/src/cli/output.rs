//! What every command has in common: log lines, colours, errors, findings, and results that appear whole or not at
//! all.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Flags that every command takes.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Which log lines go to stderr: off, error, warn, info, debug, trace, or a filter such as `netpol_agent=debug`
    #[arg(long, env = "NETPOL_LOG", global = true, default_value = "warn", value_name = "FILTER", value_parser = filter)]
    log: String,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Global {
    /// Sends log lines to stderr.
    pub fn apply(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_default();
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(Colour::Auto.wanted(&io::stderr()));
        // Only the first subscriber of a process counts; a test may have set one.
        let _ = lines.try_init();
    }
}

impl Colour {
    /// Whether to use colours on `stream`.
    #[must_use]
    pub fn wanted(self, stream: &impl IsTerminal) -> bool {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match self {
            Self::Auto => stream.is_terminal() && !unwanted,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Turns the end of a command into an exit code. An error is one line on stderr; a reader that went away is none.
#[must_use]
pub fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            note("error", one_line(&error));
            ExitCode::from(2)
        }
    }
}

/// Prints a finding or a warning to stderr.
pub fn warn(message: impl Display) {
    note("warning", message);
}

/// Writes a whole result to stdout.
///
/// # Errors
///
/// Whatever stdout fails with.
pub fn print(result: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(result).and_then(|()| stdout.flush());
    written.context("stdout cannot be written to")
}

/// Prints a line of some kind to stderr.
pub fn note(kind: &str, message: impl Display) {
    // There is nobody left to tell that stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{kind}: {message}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

/// An error and its causes, joined by `: `, on one line. A message that ends with its cause is not followed by it again.
fn one_line(error: &anyhow::Error) -> String {
    let text = error
        .chain()
        .fold(String::new(), |text, cause| match cause.to_string() {
            cause if text.is_empty() => cause,
            cause if text.ends_with(&cause) => text,
            cause => format!("{text}: {cause}"),
        });
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_with_their_causes() {
        let error = anyhow::anyhow!("at byte 3:\n  no\n").context("file x");
        assert_eq!(one_line(&error), "file x: at byte 3: no");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let error = anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe)).context("stdout");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
