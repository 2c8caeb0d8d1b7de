//! From pieces to a tree. Whatever is not part of the language is refused here, also in branches that are never taken.

use super::lex::{Piece, pieces};
use super::{Fault, Place};

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Text.
    Text(String),
    /// What a pipeline results in.
    Put(Pipeline),
    /// The first branch whose condition holds, else the last.
    If(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    /// The body once for each item, which is `.` there; else the other.
    Range(Pipeline, Vec<Node>, Vec<Node>),
    /// The body, with a value that is not empty as `.`; else the other.
    With(Pipeline, Vec<Node>, Vec<Node>),
}

/// Calls, each of which gets the result of the one before as its last argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipeline {
    pub(super) calls: Vec<Call>,
    pub(super) place: Place,
}

/// A function with its arguments, or a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    Value(Operand),
    Function(Function, Vec<Operand>),
}

/// What a template may call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Function {
    Include,
    NIndent,
    Quote,
    ToYaml,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// The fields to follow from `$` (if so) or `.`.
    Path(bool, Vec<String>),
    Text(String),
    Number(u32),
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) body: Vec<Node>,
    pub(super) definitions: Vec<(String, Place, Vec<Node>)>,
}

/// What ended a list of nodes.
enum Stop {
    File,
    End,
    /// With the condition of an `else if`.
    Else(Option<Pipeline>),
}

const WHAT_IS_ALLOWED: &str = "the chart's templates use only value substitution, if, range, with, include, quote, \
                               toYaml and nindent";

/// Reads a file.
pub(super) fn parse(file: &str, source: &str) -> Result<Parsed, Fault> {
    let mut parser = Parser {
        pieces: pieces(file, source)?.into_iter(),
        definitions: Vec::new(),
        last: Place {
            file: file.to_owned(),
            line: 1,
        },
    };
    let (body, end) = parser.nodes(true)?;
    match end {
        Stop::File => Ok(Parsed {
            body,
            definitions: parser.definitions,
        }),
        Stop::End | Stop::Else(_) => Err(parser
            .last
            .fault("nothing is open that this could belong to")),
    }
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    definitions: Vec<(String, Place, Vec<Node>)>,
    /// Where the last action stood.
    last: Place,
}

impl Parser {
    fn nodes(&mut self, top: bool) -> Result<(Vec<Node>, Stop), Fault> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (action, place) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action, place) => (action, place),
            };
            self.last = place.clone();
            let (word, rest) = head(&action);
            match word {
                "end" if rest.is_empty() => return Ok((nodes, Stop::End)),
                "else" => return Ok((nodes, Stop::Else(otherwise(rest, place)?))),
                "if" => nodes.push(self.branches(rest, place)?),
                "range" | "with" => nodes.push(self.scope(word, rest, place)?),
                "define" if top => self.define(rest, place)?,
                _ => nodes.push(Node::Put(pipeline(&action, place)?)),
            }
        }
        Ok((nodes, Stop::File))
    }

    fn branches(&mut self, condition: &str, place: Place) -> Result<Node, Fault> {
        let mut condition = pipeline(condition, place.clone())?;
        let mut branches = Vec::new();
        loop {
            let (body, end) = self.nodes(false)?;
            branches.push((condition, body));
            match end {
                Stop::End => return Ok(Node::If(branches, Vec::new())),
                Stop::Else(Some(next)) => condition = next,
                Stop::Else(None) => return Ok(Node::If(branches, self.closed(&place)?)),
                Stop::File => return Err(open(&place)),
            }
        }
    }

    fn scope(&mut self, word: &str, over: &str, place: Place) -> Result<Node, Fault> {
        let over = pipeline(over, place.clone())?;
        let (body, end) = self.nodes(false)?;
        let other = match end {
            Stop::End => Vec::new(),
            Stop::Else(None) => self.closed(&place)?,
            Stop::Else(Some(pipeline)) => {
                return Err(pipeline.place.fault("`else if` belongs to `if` only"));
            }
            Stop::File => return Err(open(&place)),
        };
        Ok(match word {
            "range" => Node::Range(over, body, other),
            _ => Node::With(over, body, other),
        })
    }

    fn define(&mut self, name: &str, place: Place) -> Result<(), Fault> {
        let words = words(name, &place)?;
        let [Word::Text(name)] = &words[..] else {
            return Err(place.fault("define takes one name in quotes"));
        };
        let body = self.closed(&place)?;
        self.definitions.push((name.clone(), place, body));
        Ok(())
    }

    /// Nodes up to the `end` of what was opened at `place`.
    fn closed(&mut self, place: &Place) -> Result<Vec<Node>, Fault> {
        match self.nodes(false)? {
            (nodes, Stop::End) => Ok(nodes),
            (_, Stop::Else(_)) => Err(self.last.fault("a second `else`")),
            (_, Stop::File) => Err(open(place)),
        }
    }
}

fn open(place: &Place) -> Fault {
    place.fault("this is never closed: `end` is missing")
}

/// The first word, and what follows it.
fn head(action: &str) -> (&str, &str) {
    let (word, rest) = action
        .split_once(char::is_whitespace)
        .unwrap_or((action, ""));
    (word, rest.trim())
}

/// What follows `else`: nothing, or `if` and a condition.
fn otherwise(rest: &str, place: Place) -> Result<Option<Pipeline>, Fault> {
    match head(rest) {
        ("", _) => Ok(None),
        ("if", condition) => pipeline(condition, place).map(Some),
        _ => Err(place.fault(format!(
            "`else {rest}` is not understood: {WHAT_IS_ALLOWED}"
        ))),
    }
}

/// A word of an action.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Word {
    Bare(String),
    Text(String),
    Pipe,
}

fn pipeline(text: &str, place: Place) -> Result<Pipeline, Fault> {
    let words = words(text, &place)?;
    let parts = words.split(|word| *word == Word::Pipe);
    let calls = parts
        .map(|words| call(words, &place))
        .collect::<Result<Vec<_>, _>>()?;
    if calls[1..].iter().any(|call| matches!(call, Call::Value(_))) {
        return Err(place.fault("a value after `|`: only a function can take what comes before"));
    }
    Ok(Pipeline { calls, place })
}

fn words(text: &str, place: &Place) -> Result<Vec<Word>, Fault> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '|' => 1,
            '"' => quoted(rest).ok_or_else(|| place.fault("a text without its closing quote"))?,
            _ => rest
                .find(|c: char| c.is_whitespace() || c == '|')
                .unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(length);
        words.push(match first {
            '|' => Word::Pipe,
            '"' => Word::Text(
                serde_json::from_str(word)
                    .map_err(|error| place.fault(format!("{word} is no text: {error}")))?,
            ),
            _ => Word::Bare(word.to_owned()),
        });
        rest = after.trim_start();
    }
    Ok(words)
}

/// The length of the text in quotes that this begins with.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if character == '"' && !escaped {
            return Some(at + 1);
        }
        escaped = character == '\\' && !escaped;
    }
    None
}

fn call(words: &[Word], place: &Place) -> Result<Call, Fault> {
    let Some((first, rest)) = words.split_first() else {
        return Err(place.fault("nothing stands where a value is needed"));
    };
    let function = match first {
        Word::Bare(word) => function(word),
        _ => None,
    };
    let arguments = rest.iter().map(|word| operand(word, place));
    match function {
        Some(function) => Ok(Call::Function(
            function,
            arguments.collect::<Result<_, _>>()?,
        )),
        None if rest.is_empty() => Ok(Call::Value(operand(first, place)?)),
        None => Err(not_allowed(first, place)),
    }
}

fn function(word: &str) -> Option<Function> {
    Some(match word {
        "include" => Function::Include,
        "nindent" => Function::NIndent,
        "quote" => Function::Quote,
        "toYaml" => Function::ToYaml,
        _ => return None,
    })
}

fn operand(word: &Word, place: &Place) -> Result<Operand, Fault> {
    match word {
        Word::Text(text) => Ok(Operand::Text(text.clone())),
        Word::Bare(bare) => bare
            .parse()
            .ok()
            .map(Operand::Number)
            .or_else(|| path(bare))
            .ok_or_else(|| not_allowed(word, place)),
        Word::Pipe => Err(not_allowed(word, place)),
    }
}

fn path(bare: &str) -> Option<Operand> {
    let (root, fields) = match bare.strip_prefix('$') {
        Some(rest) => (true, rest),
        None => (false, bare),
    };
    if fields.is_empty() {
        return root.then_some(Operand::Path(true, Vec::new()));
    }
    let fields = fields.strip_prefix('.')?;
    if fields.is_empty() {
        return (!root).then_some(Operand::Path(false, Vec::new()));
    }
    let names: Vec<&str> = fields.split('.').collect();
    let plain = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    names
        .iter()
        .all(plain)
        .then(|| Operand::Path(root, names.into_iter().map(str::to_owned).collect()))
}

fn not_allowed(word: &Word, place: &Place) -> Fault {
    let word = match word {
        Word::Bare(bare) => bare.clone(),
        Word::Text(text) => format!("{text:?}"),
        Word::Pipe => "|".to_owned(),
    };
    place.fault(format!("`{word}` is not understood: {WHAT_IS_ALLOWED}"))
}
