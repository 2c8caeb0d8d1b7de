//! Text and actions: where `{{` and `}}` stand, and which blank space they take away.

use super::{Fault, Place};

/// A piece of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    /// Text to be written as it stands.
    Text(String),
    /// What stands between the braces, without blanks around it.
    Action(String, Place),
}

/// Cuts a template into pieces. Comments are left out.
pub(super) fn pieces(file: &str, source: &str) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = source;
    let mut trim_start = false;
    while let Some(start) = rest.find("{{") {
        let place = Place {
            file: file.to_owned(),
            line: line_at(source, source.len() - rest.len() + start),
        };
        let inside = &rest[start + 2..];
        let end = length(inside).ok_or_else(|| place.fault("`{{` without `}}`"))?;
        let (action, trims) = trimmed(&inside[..end]);
        push_text(&mut pieces, &rest[..start], trim_start, trims.0);
        if !is_comment(action) {
            pieces.push(Piece::Action(action.to_owned(), place));
        }
        trim_start = trims.1;
        rest = &inside[end + 2..];
    }
    push_text(&mut pieces, rest, trim_start, false);
    Ok(pieces)
}

/// How long an action is, which may hold `}}` within quotes or a comment.
fn length(inside: &str) -> Option<usize> {
    let body = inside.strip_prefix('-').unwrap_or(inside).trim_start();
    let skipped = inside.len() - body.len();
    if body.starts_with("/*") {
        let end = body.find("*/")?;
        return Some(skipped + end + body[end..].find("}}")?);
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, character) in inside.char_indices() {
        match character {
            '"' if !escaped => quoted = !quoted,
            '}' if !quoted && inside[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
    }
    None
}

/// What is between the trim markers, and which of them are there. A marker is a `-` with a blank on its inner side.
fn trimmed(inside: &str) -> (&str, (bool, bool)) {
    let blank = |character: Option<char>| character.is_some_and(char::is_whitespace);
    let before = inside.starts_with('-') && blank(inside.chars().nth(1));
    let after = inside.ends_with('-') && blank(inside.chars().rev().nth(1));
    let inside = if before { &inside[1..] } else { inside };
    let inside = if after {
        &inside[..inside.len() - 1]
    } else {
        inside
    };
    (inside.trim(), (before, after))
}

fn is_comment(action: &str) -> bool {
    action.starts_with("/*") && action.ends_with("*/")
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

fn line_at(source: &str, offset: usize) -> usize {
    source[..offset].matches('\n').count() + 1
}
