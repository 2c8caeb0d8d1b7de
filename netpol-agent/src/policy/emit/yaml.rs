//! JSON values as block-style YAML with comments: the little that policies need, the same bytes every time.

use std::collections::BTreeMap;

use serde_json::Value;

/// Comment lines by the JSON pointer (RFC 6901) of the value that they stand above; keys are taken as they are.
pub(super) type Comments = BTreeMap<String, Vec<String>>;

/// Words that some reader takes for something else than text.
const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];

/// A document, with a line break at its end.
pub(super) fn document(value: &Value, comments: &Comments) -> String {
    write(value, comments, text)
}

/// A document for Ansible, which is kept from taking any text of it for a template.
pub(super) fn untemplated(value: &Value, comments: &Comments) -> String {
    write(value, comments, |value| {
        let template = ["{{", "{%", "{#"].iter().any(|start| value.contains(start));
        match template {
            true => format!("!unsafe {}", text(value)),
            false => text(value),
        }
    })
}

fn write(value: &Value, comments: &Comments, text: fn(&str) -> String) -> String {
    let mut writer = Writer {
        out: String::new(),
        comments,
        text,
    };
    writer.block(value, "", 0);
    writer.out
}

struct Writer<'a> {
    out: String,
    comments: &'a Comments,
    /// How text is written as a value.
    text: fn(&str) -> String,
}

impl Writer<'_> {
    /// A mapping or sequence whose first line is at `indent`; anything else on a line of its own.
    fn block(&mut self, value: &Value, path: &str, indent: usize) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, field) in fields {
                    let path = format!("{path}/{key}");
                    self.comment(&path, indent);
                    self.start(indent);
                    self.out.push_str(&text(key));
                    self.out.push(':');
                    self.field(field, &path, indent);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (number, item) in items.iter().enumerate() {
                    let path = format!("{path}/{number}");
                    self.comment(&path, indent);
                    self.start(indent);
                    self.out.push_str("- ");
                    self.block(item, &path, indent + 2);
                }
            }
            scalar => {
                self.start(indent);
                self.inline(scalar);
                self.out.push('\n');
            }
        }
    }

    /// What comes behind a key.
    fn field(&mut self, value: &Value, path: &str, indent: usize) {
        let deeper = match value {
            Value::Object(fields) if !fields.is_empty() => indent + 2,
            Value::Array(items) if !items.is_empty() => indent,
            scalar => {
                self.out.push(' ');
                self.inline(scalar);
                self.out.push('\n');
                return;
            }
        };
        self.out.push('\n');
        self.block(value, path, deeper);
    }

    /// A value on one line.
    fn inline(&mut self, value: &Value) {
        let inline = match value {
            Value::String(value) => (self.text)(value),
            other => other.to_string(),
        };
        self.out.push_str(&inline);
    }

    fn comment(&mut self, path: &str, indent: usize) {
        for line in self.comments.get(path).into_iter().flatten() {
            self.start(indent);
            self.out.push_str("# ");
            self.out.push_str(&comment(line));
            self.out.push('\n');
        }
    }

    /// Indents, unless a dash of this line already has.
    fn start(&mut self, indent: usize) {
        if self.out.is_empty() || self.out.ends_with('\n') {
            self.out.push_str(&" ".repeat(indent));
        }
    }
}

/// Text that cannot end the comment it stands in.
pub(super) fn comment(text: &str) -> String {
    text.replace(
        |c: char| c.is_control() || "\u{2028}\u{2029}".contains(c),
        " ",
    )
}

/// Text as a plain scalar where nobody can take it for anything else, else in double quotes.
fn text(value: &str) -> String {
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !WORDS.contains(&&*value.to_ascii_lowercase());
    match plain {
        true => value.to_owned(),
        false => Value::from(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_stand_above_what_they_are_about() {
        let value = json!({"a": [{"b": "x", "c": []}, {"b": "yes"}], "d": {"e": 1}});
        let comments = Comments::from([
            (
                "/a/1".to_owned(),
                vec!["second".to_owned(), "item".to_owned()],
            ),
            ("/d/e".to_owned(), vec!["a line\nbreak".to_owned()]),
        ]);
        let expected =
            "a:\n- b: x\n  c: []\n# second\n# item\n- b: \"yes\"\nd:\n  # a line break\n  e: 1\n";
        assert_eq!(document(&value, &comments), expected);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(
            &[
                "y",
                "No",
                "1",
                "1e3",
                "0x10",
                "~",
                "",
                "a b",
                "a: b",
                "#a",
                "- a",
                "1.2.3.4/32",
                "2026-01-02",
                "null",
                ".inf",
            ][..],
        );
        let text = prop_oneof![word.prop_map(str::to_owned), "[ -~]{0,12}", "\\PC{0,6}"];
        let leaf = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i32>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(value in any_value()) {
            let written = document(&value, &Comments::new());
            let read: Value = serde_saphyr::from_str(&written).expect(&written);
            prop_assert_eq!(read, value, "{}", written);
        }
    }
}
