//! Saying once that something does not work, and once that it works again.

use std::error::Error;
use std::fmt::Display;

use tracing::{info, warn};

/// A thing that is tried again and again.
#[derive(Debug)]
pub struct Trouble {
    what: &'static str,
    said: Option<String>,
}

impl Trouble {
    /// Nothing is wrong yet with what `what` names, a phrase like `writing flows`.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, said: None }
    }

    /// Takes in the outcome of a try, and gives its value. The same error twice in a row is said once.
    pub fn note<T, E: Display>(&mut self, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => {
                if self.said.take().is_some() {
                    info!("{} works again", self.what);
                }
                Some(value)
            }
            Err(error) => {
                self.say(error.to_string());
                None
            }
        }
    }

    fn say(&mut self, error: String) {
        if self.said.as_ref() != Some(&error) {
            warn!("{} failed, and is tried again: {error}", self.what);
            self.said = Some(error);
        }
    }
}

/// An error and its causes in one line. A message that repeats its cause is not repeated.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do it: {0}")]
    struct Repeating(#[source] Outer);

    #[test]
    fn causes_are_told_once() {
        let cause = || io::Error::other("in\n  two lines");
        assert_eq!(chain(&Outer(cause())), "outer: in two lines");
        assert_eq!(
            chain(&Repeating(Outer(cause()))),
            "cannot do it: outer: in two lines"
        );
    }

    #[test]
    fn trouble_is_remembered_until_it_is_over() {
        let mut trouble = Trouble::new("trying");
        assert_eq!(trouble.note(Err::<(), _>("no")), None);
        assert_eq!(trouble.said.as_deref(), Some("no"));
        assert_eq!(trouble.note(Ok::<_, String>(7)), Some(7));
        assert_eq!(trouble.said, None);
    }
}
