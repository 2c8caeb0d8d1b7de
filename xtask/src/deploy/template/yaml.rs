//! Values as YAML, laid out as Helm's `toYaml` lays them out: keys in order, two blanks, lists not indented.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A value as a block, without a line's end after it.
#[must_use]
pub fn block(value: &Value) -> String {
    let mut out = String::new();
    write_block(&mut out, value, 0);
    out.trim_end().to_owned()
}

/// A text in double quotes.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn write_block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => write_fields(out, fields, indent, false),
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                write_item(out, item, indent);
            }
        }
        value => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// The fields; the first goes on a line that has been begun if `begun`.
fn write_fields(out: &mut String, fields: &Map<String, Value>, indent: usize, begun: bool) {
    let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
    for (number, (key, value)) in sorted.into_iter().enumerate() {
        let blanks = if begun && number == 0 { 0 } else { indent };
        // Writing to a String cannot fail.
        let _ = write!(out, "{:blanks$}{}:", "", scalar(&Value::from(key.as_str())));
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write_fields(out, inner, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                write_block(out, value, indent);
            }
            value => {
                let _ = writeln!(out, " {}", scalar(value));
            }
        }
    }
}

fn write_item(out: &mut String, item: &Value, indent: usize) {
    let _ = write!(out, "{:indent$}- ", "");
    match item {
        Value::Object(fields) if !fields.is_empty() => write_fields(out, fields, indent + 2, true),
        Value::Array(items) if !items.is_empty() => {
            // The first item of an inner list begins on the same line.
            let mut inner = String::new();
            write_block(&mut inner, item, indent + 2);
            out.push_str(inner.trim_start());
        }
        value => {
            let _ = writeln!(out, "{}", scalar(value));
        }
    }
}

/// One value on one line. A text stands plain where no reader of YAML could take it for anything else.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(text) => quoted(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        value => value.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !words.contains(&text.to_ascii_lowercase().as_str())
}
