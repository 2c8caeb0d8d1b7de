//! Saying once that something does not work, and once that it works again.

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
