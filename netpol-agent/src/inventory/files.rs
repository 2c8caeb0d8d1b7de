//! The files of an inventory and the documents in them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{InventoryError, Purpose};

/// How deep directories may hold directories, so that a link to a parent ends.
const DEPTH: usize = 32;
/// Events of the YAML parser for one file: about as many as 100,000 pods in full come to.
const EVENTS: usize = 200_000_000;
/// Events that may come out of aliases: enough for hand-written anchors, far too few for a bomb.
const REPLAYED: usize = 100_000;

/// A text and what to call it in messages.
pub(super) struct Source {
    /// What it is read for.
    pub(super) purpose: Purpose,
    /// The path; `stdin` for `-`.
    pub(super) name: String,
    /// What is in it.
    pub(super) text: String,
}

/// Every file behind a path, read: the path itself; of a directory, what ends in `.yaml`, `.yml` or `.json`, sorted.
pub(super) fn sources(purpose: Purpose, path: &Path) -> Result<Vec<Source>, InventoryError> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|source| unreadable(purpose, path, source))?;
        return Ok(vec![source(purpose, path, "stdin".to_owned(), bytes)?]);
    }
    let mut files = Vec::new();
    let listed = collect(path, DEPTH, true, &mut files);
    listed.map_err(|(path, source)| unreadable(purpose, &path, source))?;
    files.iter().map(|file| read_file(purpose, file)).collect()
}

/// The documents of a text, each with its number, counted from 1; empty ones are neither given nor counted.
pub(super) fn documents(source: &Source) -> Result<Vec<(usize, Value)>, InventoryError> {
    let values = match json(&source.text) {
        Some(values) => values,
        None => yaml(source)?,
    };
    let numbered = (1..).zip(values);
    Ok(numbered.filter(|(_, value)| !value.is_null()).collect())
}

fn collect(
    path: &Path,
    depth: usize,
    named: bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let unreadable = |source| (path.to_owned(), source);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_dir() {
        if named || is_inventory(path) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if depth == 0 {
        let source =
            io::Error::other("directories are nested too deep, or a link leads in a circle");
        return Err(unreadable(source));
    }
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let entries: io::Result<Vec<PathBuf>> = entries.collect();
    let mut entries = entries.map_err(unreadable)?;
    entries.retain(|entry| !is_hidden(entry));
    entries.sort();
    entries
        .iter()
        .filter(|entry| entry.is_dir() || is_inventory(entry))
        .try_for_each(|entry| collect(entry, depth - 1, false, files))
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with('.'))
}

fn is_inventory(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn read_file(purpose: Purpose, path: &Path) -> Result<Source, InventoryError> {
    let bytes = fs::read(path).map_err(|source| unreadable(purpose, path, source))?;
    source(purpose, path, path.display().to_string(), bytes)
}

fn source(
    purpose: Purpose,
    path: &Path,
    name: String,
    bytes: Vec<u8>,
) -> Result<Source, InventoryError> {
    let not_text = |_| unreadable(purpose, path, io::Error::other("is not UTF-8 text"));
    let text = String::from_utf8(bytes).map_err(not_text)?;
    Ok(Source {
        purpose,
        name,
        text,
    })
}

fn unreadable(purpose: Purpose, path: &Path, source: io::Error) -> InventoryError {
    InventoryError::Read {
        purpose,
        path: path.display().to_string(),
        source,
    }
}

/// The documents of a text that is JSON; `None` if it is not.
///
/// All JSON is YAML, but this reader is several times faster, and `kubectl get -o json` writes much.
fn json(text: &str) -> Option<Vec<Value>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let values = serde_json::Deserializer::from_str(text).into_iter();
    values.collect::<Result<_, _>>().ok()
}

fn yaml(source: &Source) -> Result<Vec<Value>, InventoryError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: EVENTS,
            max_nodes: EVENTS,
            max_total_scalar_bytes: usize::MAX,
            max_documents: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED,
        },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
        emit_comments: false,
    };
    let values = serde_saphyr::from_multiple_with_options::<Option<Value>>(&source.text, options);
    let values = values.map_err(|error| InventoryError::Syntax {
        purpose: source.purpose,
        path: source.name.clone(),
        reason: one_line(&error.to_string()),
    })?;
    Ok(values.into_iter().map(Option::unwrap_or_default).collect())
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
