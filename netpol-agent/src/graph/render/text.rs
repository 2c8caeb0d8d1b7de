//! The graph for a terminal: clients by namespace, each with its servers.

use std::fmt::Write;

use super::arrows::{ArrowId, Style, arrows, group, label};
use crate::graph::FlowGraph;

/// The graph as indented text; `colours` puts terminal colours into it.
#[must_use]
pub fn text(graph: &FlowGraph, colours: bool) -> String {
    let mut out = String::new();
    let mut above: Option<ArrowId<'_>> = None;
    for (id, arrow) in arrows(graph) {
        let new_group = above
            .as_ref()
            .is_none_or(|above| group(above.client) != group(id.client));
        let new_client = above.as_ref().is_none_or(|above| above.client != id.client);
        if new_group {
            let heading = plain(group(id.client).unwrap_or("outside any namespace"));
            line(&mut out, 0, &paint(colours, "1", &heading));
        }
        if new_client {
            line(&mut out, 1, &plain(&label(id.client)));
        }
        let server = plain(&id.server.to_string());
        let words = format!("-> {server}  {}", plain(&arrow.words(&id)));
        line(&mut out, 2, &paint(colours, colour(id.style), &words));
        above = Some(id);
    }
    out
}

fn line(out: &mut String, depth: usize, words: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{:width$}{words}", "", width = depth * 2);
}

fn colour(style: Style) -> &'static str {
    match style {
        Style::Answered => "32",
        Style::Unsure => "33",
        Style::Failed => "31",
    }
}

fn paint(colours: bool, colour: &str, words: &str) -> String {
    if colours {
        format!("\u{1b}[{colour}m{words}\u{1b}[0m")
    } else {
        words.to_owned()
    }
}

/// Without anything that a terminal would obey.
fn plain(words: &str) -> String {
    words.replace(char::is_control, "\u{fffd}")
}
