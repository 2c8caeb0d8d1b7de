//! The graph in Graphviz's language: a cluster for each namespace.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::arrows::{Style, arrows, groups, label};
use crate::graph::FlowGraph;
use crate::identity::Peer;

/// The graph as DOT source.
#[must_use]
pub fn dot(graph: &FlowGraph) -> String {
    let mut out = String::from("digraph flows {\n  rankdir=LR;\n  node [shape=box];\n");
    let mut ids: BTreeMap<&Peer, String> = BTreeMap::new();
    for (number, (namespace, peers)) in groups(graph).into_iter().enumerate() {
        let indent = if namespace.is_some() { "    " } else { "  " };
        if let Some(namespace) = namespace {
            write_line(&mut out, &format!("  subgraph cluster_{number} {{"));
            write_line(&mut out, &format!("    label={};", quote(namespace)));
        }
        for peer in peers {
            let id = format!("p{}", ids.len());
            write_line(
                &mut out,
                &format!("{indent}{id} [label={}];", quote(&label(peer))),
            );
            ids.insert(peer, id);
        }
        if namespace.is_some() {
            write_line(&mut out, "  }");
        }
    }
    for (id, arrow) in arrows(graph) {
        let style = match id.style {
            Style::Answered => "solid",
            Style::Unsure => "dashed",
            Style::Failed => "dotted",
        };
        let words = quote(&arrow.words(&id));
        let (from, to) = (&ids[id.client], &ids[id.server]);
        write_line(
            &mut out,
            &format!("  {from} -> {to} [label={words}, style={style}];"),
        );
    }
    out.push_str("}\n");
    out
}

fn write_line(out: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{line}");
}

/// A quoted string. A backslash would begin an escape of Graphviz's own, an ampersand an entity.
fn quote(words: &str) -> String {
    let words = words.replace(char::is_control, "\u{fffd}");
    let words = words.replace('&', "&amp;").replace('\\', "\\\\");
    format!("\"{}\"", words.replace('"', "\\\""))
}
