//! The files of an inventory and the documents in them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::decode::{Decoded, Undecodable};
use super::document::Document;
use super::{InventoryError, Purpose};

/// How many bytes one file may have: more than 100,000 pods in full come to.
const BYTES: u64 = 1 << 30;
/// How deep directories may hold directories, so that a link to a parent ends.
const DEPTH: usize = 32;
/// Events of the YAML parser for one file: about as many as 100,000 pods in full come to.
const EVENTS: usize = 200_000_000;
/// Events that may come out of aliases: enough for hand-written anchors, far too few for a bomb.
const REPLAYED: usize = 100_000;

/// What the documents of a text hold, each with the number of its document, counted from 1; empty ones are not
/// counted.
#[derive(Default)]
pub(super) struct Documents {
    /// The objects before the first that does not decode.
    pub(super) decoded: Vec<(usize, Decoded)>,
    /// The first that does not decode.
    pub(super) error: Option<(usize, Undecodable)>,
    count: usize,
}

/// A text and what to call it in messages.
pub(super) struct Source {
    /// What it is read for.
    pub(super) purpose: Purpose,
    /// The path; `stdin` for `-`.
    pub(super) name: String,
    /// What is in it.
    pub(super) text: String,
}

/// Every file behind a path: the path itself; of a directory, what ends in `.yaml`, `.yml` or `.json`, sorted.
pub(super) fn listed(purpose: Purpose, path: &Path) -> Result<Vec<PathBuf>, InventoryError> {
    if path == Path::new("-") {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let listed = collect(path, DEPTH, true, &mut files);
    listed.map_err(|(path, source)| unreadable(purpose, &path, source))?;
    Ok(files)
}

/// Reads a file; stdin, if it is `-`.
pub(super) fn read(purpose: Purpose, path: &Path) -> Result<Source, InventoryError> {
    let stdin = path == Path::new("-");
    let bytes = match stdin {
        true => bounded(io::stdin().lock()),
        false => fs::File::open(path).and_then(bounded),
    };
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::other("is not UTF-8 text"))
    });
    Ok(Source {
        purpose,
        name: match stdin {
            true => "stdin".to_owned(),
            false => path.display().to_string(),
        },
        text: text.map_err(|source| unreadable(purpose, path, source))?,
    })
}

/// What the documents of a text hold.
pub(super) fn documents(source: &Source) -> Result<Documents, InventoryError> {
    match json(&source.text) {
        Some(documents) => Ok(documents),
        None => yaml(source),
    }
}

impl Extend<Document> for Documents {
    fn extend<T: IntoIterator<Item = Document>>(&mut self, documents: T) {
        for Document(given) in documents {
            let Some(given) = given.filter(|_| self.error.is_none()) else {
                continue;
            };
            self.count += 1;
            match given {
                Ok(decoded) => {
                    let numbered = decoded.into_iter().map(|each| (self.count, each));
                    self.decoded.extend(numbered);
                }
                Err(error) => self.error = Some((self.count, error)),
            }
        }
    }
}

/// All that a reader has, if that is not too much.
fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader.take(BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= BYTES) {
        return Ok(bytes);
    }
    Err(io::Error::other(
        "is larger than 1 GiB: split it into several files",
    ))
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
fn json(text: &str) -> Option<Documents> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut documents = Documents::default();
    for document in serde_json::Deserializer::from_str(text).into_iter() {
        documents.extend([document.ok()?]);
    }
    Some(documents)
}

fn yaml(source: &Source) -> Result<Documents, InventoryError> {
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
    let documents =
        serde_saphyr::from_str_multiple_with_options::<Document, Documents>(&source.text, options);
    documents.map_err(|error| InventoryError::Syntax {
        purpose: source.purpose,
        path: source.name.clone(),
        reason: one_line(&error.to_string()),
    })
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
