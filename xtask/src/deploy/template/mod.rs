//! The part of Helm's template language that the chart may use, so that its manifests can be rendered without Helm.
//!
//! Value substitution, `if`, `range`, `with`, `define` and `include`, `quote`, `toYaml`, `nindent`; comments, and `-` for
//! trimming. Anything else is a [`Fault`] that names file and line, and so is a value that is not there, which Helm would
//! print as nothing. What the constructs mean is what Go's `text/template` and Helm make of them.

mod evaluate;
mod lex;
mod parse;
#[cfg(test)]
mod tests;
pub mod yaml;

use std::collections::BTreeMap;

use serde_json::Value;

use parse::{Node, Parsed};

/// What is wrong with a template, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct Fault {
    /// The template's file, as it was named when it was added.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

/// Where in which file something stands.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    file: String,
    line: usize,
}

impl Place {
    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault {
            file: self.file.clone(),
            line: self.line,
            what: what.into(),
        }
    }
}

/// The templates of a chart.
#[derive(Debug, Default)]
pub struct Templates {
    files: BTreeMap<String, Vec<Node>>,
    defined: BTreeMap<String, Vec<Node>>,
}

impl Templates {
    /// Takes in a file.
    ///
    /// # Errors
    ///
    /// If it holds a construct that is not part of this language, or defines what another file defines too.
    pub fn add(&mut self, file: &str, source: &str) -> Result<(), Fault> {
        let Parsed { body, definitions } = parse::parse(file, source)?;
        for (name, place, nodes) in definitions {
            if self.defined.insert(name.clone(), nodes).is_some() {
                return Err(place.fault(format!("{name:?} is defined twice")));
            }
        }
        self.files.insert(file.to_owned(), body);
        Ok(())
    }

    /// The text that a file becomes with those values as `.` and `$`.
    ///
    /// # Errors
    ///
    /// If it names a value or a definition that is not there, or uses a value for what it is not.
    ///
    pub fn render(&self, file: &str, root: &Value) -> Result<String, Fault> {
        let body = self.files.get(file).map_or(&[][..], Vec::as_slice);
        evaluate::render(body, root, &self.defined)
    }
}
