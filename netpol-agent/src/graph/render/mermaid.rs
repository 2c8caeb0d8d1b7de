//! The graph as a Mermaid flowchart: a subgraph for each namespace.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::arrows::{Style, arrows, groups, label};
use crate::graph::FlowGraph;
use crate::identity::Peer;

/// The graph as Mermaid source. Names are quoted; whatever could end the quotes or be markup is an entity.
#[must_use]
pub fn mermaid(graph: &FlowGraph) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut ids: BTreeMap<&Peer, String> = BTreeMap::new();
    for (number, (namespace, peers)) in groups(graph).into_iter().enumerate() {
        let indent = if namespace.is_some() { "    " } else { "  " };
        if let Some(namespace) = namespace {
            write_line(
                &mut out,
                &format!("  subgraph g{number}[\"{}\"]", escape(namespace)),
            );
        }
        for peer in peers {
            let id = format!("p{}", ids.len());
            write_line(
                &mut out,
                &format!("{indent}{id}[\"{}\"]", escape(&label(peer))),
            );
            ids.insert(peer, id);
        }
        if namespace.is_some() {
            write_line(&mut out, "  end");
        }
    }
    for (id, arrow) in arrows(graph) {
        let line = match id.style {
            Style::Answered => "-->",
            Style::Unsure => "-.->",
            Style::Failed => "--x",
        };
        let words = escape(&arrow.words(&id));
        let (from, to) = (&ids[id.client], &ids[id.server]);
        write_line(&mut out, &format!("  {from} {line}|\"{words}\"| {to}"));
    }
    out
}

fn write_line(out: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{line}");
}

/// Text within double quotes. Letters, digits and what names are made of stand for themselves; all else is written by
/// its code point, as Mermaid has it: `#35;`.
fn escape(words: &str) -> String {
    let mut out = String::new();
    for letter in words.chars() {
        match letter {
            letter if letter.is_alphanumeric() || " -_./,:()".contains(letter) => out.push(letter),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => {
                let _ = write!(out, "#{};", u32::from(letter));
            }
        }
    }
    out
}
