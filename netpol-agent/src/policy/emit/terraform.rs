//! Terraform's resources `kubernetes_network_policy_v1`, by the schema of the provider `hashicorp/kubernetes`.
//!
//! They are the Kubernetes form with its fields in snake case: objects and lists of objects are blocks, labels and
//! lists of text are attributes. An empty list of rules has no block at all, since an empty block would allow
//! everything; `policy_types` then isolates.

use std::fmt::Write;

use hcl_edit::expr::Expression;
use serde_json::{Map, Value};

use super::yaml::{self, Comments};
use super::{head, kubernetes};
use crate::policy::model::Policy;

/// The type of the resources.
const RESOURCE: &str = "kubernetes_network_policy_v1";

/// By how many blanks what is inside a block is indented.
const INDENT: usize = 2;

/// Objects whose keys are chosen by people: attributes with a value for each key.
const MAPS: [&str; 1] = ["matchLabels"];

/// A policy as one resource, which begins with [`HEADER`](super::HEADER).
#[must_use]
pub fn resource(policy: &Policy, with_evidence: bool) -> String {
    let mut value = kubernetes::value(policy);
    let comments = match with_evidence {
        true => kubernetes::comments(policy, ""),
        false => Comments::new(),
    };
    let mut writer = Writer {
        out: head(policy),
        comments: &comments,
    };
    let name = text(&resource_name(policy));
    writer.line(0, &format!("resource {} {name} {{", text(RESOURCE)));
    for field in ["metadata", "spec"] {
        let body = value[field].take();
        writer.field(field, &body, &format!("/{field}"), INDENT);
    }
    writer.line(0, "}");
    writer.out
}

/// A name that no other policy's resource has: namespaces hold no dot or underscore, names no underscore.
fn resource_name(policy: &Policy) -> String {
    let whole = format!("{}_{}", policy.workload.namespace, policy.name);
    let mut name = String::new();
    if !whole.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.push('_');
    }
    for c in whole.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => name.push(c),
            '.' => name.push('_'),
            other => name.push_str(&format!("_{:x}_", u32::from(other))),
        }
    }
    name
}

struct Writer<'a> {
    out: String,
    comments: &'a Comments,
}

impl Writer<'_> {
    /// A field of a block: a block, several blocks, or an attribute.
    fn field(&mut self, key: &str, value: &Value, path: &str, indent: usize) {
        match value {
            Value::Object(fields) if !MAPS.contains(&key) => {
                self.block(key, fields, path, indent);
            }
            Value::Array(items) if items.is_empty() => {
                self.gap(indent);
                self.comment(path, indent);
            }
            Value::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.field(key, item, &format!("{path}/{number}"), indent);
                }
            }
            attribute => self.attributes(&[(key, attribute)], indent),
        }
    }

    fn block(&mut self, key: &str, fields: &Map<String, Value>, path: &str, indent: usize) {
        self.gap(indent);
        self.comment(path, indent);
        let key = snake(key);
        if fields.is_empty() {
            self.line(indent, &format!("{key} {{}}"));
            return;
        }
        self.line(indent, &format!("{key} {{"));
        let lines: Vec<(&str, &Value)> = (fields.iter())
            .filter(|(_, value)| is_line(value))
            .map(|(key, value)| (&**key, value))
            .collect();
        self.attributes(&lines, indent + INDENT);
        for (key, value) in fields.iter().filter(|(_, value)| !is_line(value)) {
            self.field(key, value, &format!("{path}/{key}"), indent + INDENT);
        }
        self.line(indent, "}");
    }

    /// Attributes on lines that follow each other, with their signs of equality aligned.
    fn attributes(&mut self, attributes: &[(&str, &Value)], indent: usize) {
        let keys: Vec<String> = attributes.iter().map(|(key, _)| snake(key)).collect();
        let width = keys.iter().map(String::len).max().unwrap_or_default();
        for (key, (field, value)) in keys.iter().zip(attributes) {
            match value {
                Value::Object(labels) => self.labels(key, labels, indent),
                value => {
                    let value = expression(field, value);
                    self.line(indent, &format!("{key:width$} = {value}"));
                }
            }
        }
    }

    fn labels(&mut self, key: &str, labels: &Map<String, Value>, indent: usize) {
        self.line(indent, &format!("{key} = {{"));
        let keys: Vec<String> = labels.keys().map(|key| text(key)).collect();
        let width = keys.iter().map(|key| key.chars().count()).max();
        let width = width.unwrap_or_default();
        for (key, value) in keys.iter().zip(labels.values()) {
            self.line(
                indent + INDENT,
                &format!("{key:width$} = {}", expression("", value)),
            );
        }
        self.line(indent, "}");
    }

    /// An empty line between the parts of the resource and of its specification.
    fn gap(&mut self, indent: usize) {
        if indent <= 2 * INDENT && !self.out.ends_with("{\n") {
            self.out.push('\n');
        }
    }

    fn comment(&mut self, path: &str, indent: usize) {
        for line in self.comments.get(path).into_iter().flatten() {
            self.line(indent, &format!("# {}", yaml::comment(line)));
        }
    }

    fn line(&mut self, indent: usize, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{:indent$}{line}", "");
    }
}

/// Whether a value is an attribute on one line.
fn is_line(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(items) => !items.is_empty() && !items.iter().any(Value::is_object),
        _ => true,
    }
}

/// A value as an expression. The provider's `port` is text, since ports may have names.
fn expression(field: &str, value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| expression("", item)).collect();
            format!("[{}]", items.join(", "))
        }
        number if field == "port" => text(&number.to_string()),
        other => other.to_string(),
    }
}

/// Text in quotes, in which nothing is a template.
fn text(text: &str) -> String {
    Expression::from(text).to_string()
}

/// `podSelector` as `pod_selector`.
fn snake(key: &str) -> String {
    let mut snake = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
