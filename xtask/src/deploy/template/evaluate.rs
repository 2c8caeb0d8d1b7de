//! What a tree becomes with values.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parse::{Call, Function, Node, Operand, Pipeline};
use super::{Fault, Place, yaml};

/// How deep definitions may include each other.
const DEEPEST: usize = 32;
/// From here on Helm, which reads every number as a float, would print an exponent.
const TOO_LARGE: f64 = 1e6;

type Defined = BTreeMap<String, Vec<Node>>;

/// Renders `nodes` with `root` as `.` and `$`.
pub(super) fn render(nodes: &[Node], root: &Value, defined: &Defined) -> Result<String, Fault> {
    let renderer = Renderer {
        defined,
        root,
        depth: 0,
    };
    let mut out = String::new();
    renderer.nodes(nodes, root, &mut out)?;
    Ok(out)
}

#[derive(Clone, Copy)]
struct Renderer<'a> {
    defined: &'a Defined,
    root: &'a Value,
    depth: usize,
}

impl Renderer<'_> {
    fn nodes(&self, nodes: &[Node], dot: &Value, out: &mut String) -> Result<(), Fault> {
        for node in nodes {
            self.node(node, dot, out)?;
        }
        Ok(())
    }

    fn node(&self, node: &Node, dot: &Value, out: &mut String) -> Result<(), Fault> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Put(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                out.push_str(&text(&value, &pipeline.place)?);
            }
            Node::If(branches, other) => return self.branches(branches, other, dot, out),
            Node::Range(over, body, other) => return self.range(over, [body, other], dot, out),
            Node::With(over, body, other) => {
                let value = self.pipeline(over, dot)?;
                return match holds(&value) {
                    true => self.nodes(body, &value, out),
                    false => self.nodes(other, dot, out),
                };
            }
        }
        Ok(())
    }

    fn branches(
        &self,
        branches: &[(Pipeline, Vec<Node>)],
        other: &[Node],
        dot: &Value,
        out: &mut String,
    ) -> Result<(), Fault> {
        for (condition, body) in branches {
            if holds(&self.pipeline(condition, dot)?) {
                return self.nodes(body, dot, out);
            }
        }
        self.nodes(other, dot, out)
    }

    fn range(
        &self,
        over: &Pipeline,
        [body, other]: [&[Node]; 2],
        dot: &Value,
        out: &mut String,
    ) -> Result<(), Fault> {
        let items = match self.pipeline(over, dot)? {
            Value::Array(items) => items,
            // Go ranges over a map in the order of its keys.
            Value::Object(fields) => fields
                .into_iter()
                .collect::<BTreeMap<_, _>>()
                .into_values()
                .collect(),
            value => return Err(over.place.fault(format!("cannot range over {value}"))),
        };
        if items.is_empty() {
            return self.nodes(other, dot, out);
        }
        items
            .iter()
            .try_for_each(|item| self.nodes(body, item, out))
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let mut before = None;
        for call in &pipeline.calls {
            before = Some(self.call(call, before, dot, &pipeline.place)?);
        }
        // A pipeline has a call: the parser sees to it.
        Ok(before.unwrap_or_default())
    }

    fn call(
        &self,
        call: &Call,
        before: Option<Value>,
        dot: &Value,
        place: &Place,
    ) -> Result<Value, Fault> {
        let (function, operands) = match call {
            Call::Value(operand) => return self.operand(operand, dot, place),
            Call::Function(function, operands) => (function, operands),
        };
        let mut arguments = operands
            .iter()
            .map(|operand| self.operand(operand, dot, place))
            .collect::<Result<Vec<_>, _>>()?;
        arguments.extend(before);
        match (function, &arguments[..]) {
            (Function::Include, [Value::String(name), dot]) => self.include(name, dot, place),
            (Function::Quote, [value]) => quote(value, place),
            (Function::ToYaml, [value]) => Ok(Value::String(yaml::block(value))),
            (Function::NIndent, [Value::Number(width), Value::String(text)]) => {
                let width = width.as_u64().and_then(|width| usize::try_from(width).ok());
                let width = width.ok_or_else(|| place.fault("nindent takes a number"))?;
                Ok(Value::String(indented(text, width)))
            }
            (Function::Include, _) => {
                Err(place.fault("include takes a name in quotes and a value"))
            }
            (Function::Quote, _) => Err(place.fault("quote takes one value")),
            (Function::ToYaml, _) => Err(place.fault("toYaml takes one value")),
            (Function::NIndent, _) => Err(place.fault("nindent takes a number and a text")),
        }
    }

    fn include(&self, name: &str, dot: &Value, place: &Place) -> Result<Value, Fault> {
        let body = self
            .defined
            .get(name)
            .ok_or_else(|| place.fault(format!("{name:?} is not defined in any template")))?;
        if self.depth == DEEPEST {
            return Err(place.fault(format!("{name:?} includes itself")));
        }
        let inner = Renderer {
            root: dot,
            depth: self.depth + 1,
            ..*self
        };
        let mut out = String::new();
        inner.nodes(body, dot, &mut out)?;
        Ok(Value::String(out))
    }

    fn operand(&self, operand: &Operand, dot: &Value, place: &Place) -> Result<Value, Fault> {
        match operand {
            Operand::Text(text) => Ok(Value::String(text.clone())),
            Operand::Number(number) => Ok(Value::from(*number)),
            Operand::Path(from_root, fields) => {
                let start = if *from_root { self.root } else { dot };
                follow(start, fields, place).cloned()
            }
        }
    }
}

fn follow<'a>(start: &'a Value, fields: &[String], place: &Place) -> Result<&'a Value, Fault> {
    fields.iter().try_fold(start, |value, field| {
        value.get(field).ok_or_else(|| {
            place.fault(format!(
                "there is no .{}: give it a value in values.yaml",
                fields.join(".")
            ))
        })
    })
}

/// What Go calls true: whatever is not empty, zero or absent.
fn holds(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn text(value: &Value, place: &Place) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(bool) => Ok(bool.to_string()),
        Value::Number(number) if number.as_f64().is_some_and(|size| size.abs() < TOO_LARGE) => {
            Ok(number.to_string())
        }
        Value::Number(number) => Err(place.fault(format!(
            "Helm would print {number} with an exponent: make it a text in values.yaml"
        ))),
        Value::Null => Err(place.fault("the value is null")),
        Value::Array(_) | Value::Object(_) => Err(place.fault(format!(
            "{value} is not a single value: it needs toYaml or range"
        ))),
    }
}

fn quote(value: &Value, place: &Place) -> Result<Value, Fault> {
    Ok(Value::String(yaml::quoted(&text(value, place)?)))
}

fn indented(text: &str, width: usize) -> String {
    let blanks = " ".repeat(width);
    format!("\n{blanks}{}", text.replace('\n', &format!("\n{blanks}")))
}
