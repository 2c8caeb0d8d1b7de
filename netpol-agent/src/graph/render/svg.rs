//! The graph as SVG: boxes in frames of namespaces, with arrows between them.

use std::fmt::Write;

use super::arrows::Style;
use super::layered::Corner;
use super::scene::{Frame, LETTERS, Line, Node, Scene};
use crate::graph::FlowGraph;

/// How the drawing looks; also within a page.
pub(super) const STYLE: &str = include_str!("drawing.css");

/// How far a curve goes straight on before it bends, at least.
const BEND: i64 = 50;

/// The longest words on an arrow; the rest is in its title.
const WORDS: usize = 26;

/// Between arrows that connect the same two boxes.
const BESIDE: i64 = 9;

/// The graph as one SVG document. Names are escaped, and nothing in it is fetched.
#[must_use]
pub fn svg(graph: &FlowGraph) -> String {
    let scene = Scene::of(graph);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    write_drawing(&mut out, &scene, true);
    out
}

/// Writes the `svg` element; a whole document of its own states its style and background besides.
pub(super) fn write_drawing(out: &mut String, scene: &Scene<'_>, alone: bool) {
    let (width, height) = (scene.size.width, scene.size.height);
    let boxes = scene.nodes.len();
    let arrows = scene.lines.len();
    line(
        out,
        &format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"flows\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"flows-title flows-text\">"
        ),
    );
    line(out, "<title id=\"flows-title\">Who talks to whom</title>");
    line(
        out,
        &format!("<desc id=\"flows-text\">{boxes} peers and {arrows} arrows between them</desc>"),
    );
    if alone {
        line(out, &format!("<style>\n{STYLE}</style>"));
        line(
            out,
            "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>",
        );
    }
    out.push_str(MARKERS);
    scene.frames.iter().for_each(|each| frame(out, each));
    for (number, each) in scene.lines.iter().enumerate() {
        arrow(out, number, each, scene);
    }
    for (number, each) in scene.nodes.iter().enumerate() {
        node(out, number, each);
    }
    line(out, "</svg>");
}

const MARKERS: &str = concat!(
    "<defs>\n",
    "<marker id=\"answered\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">",
    "<path class=\"head answered\" d=\"M0 0L8 4L0 8z\"/></marker>\n",
    "<marker id=\"unsure\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">",
    "<path class=\"head unsure\" d=\"M0 0L8 4L0 8z\"/></marker>\n",
    "<marker id=\"failed\" viewBox=\"0 0 8 8\" refX=\"4\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">",
    "<path class=\"cross\" d=\"M0 0L8 8M0 8L8 0\"/></marker>\n",
    "</defs>\n",
);

fn frame(out: &mut String, frame: &Frame<'_>) {
    let Corner { x, y } = frame.corner;
    let (width, height) = (frame.size.width, frame.size.height);
    let name = escape(&shortened(frame.namespace, LETTERS));
    line(
        out,
        &format!(
            "<g class=\"namespace\"><title>namespace {}</title>\
             <rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\
             <text x=\"{}\" y=\"{}\">{name}</text></g>",
            escape(frame.namespace),
            x + 14,
            y + 22
        ),
    );
}

fn node(out: &mut String, number: usize, node: &Node<'_>) {
    let Corner { x, y } = node.corner;
    let (width, height) = (node.size.width, node.size.height);
    let kind = match node.namespace() {
        Some(_) => "workload",
        None => "outside",
    };
    line(
        out,
        &format!(
            "<g class=\"peer {kind}\" data-peer=\"{number}\"><title>{}</title>\
             <rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>\
             <text x=\"{}\" y=\"{}\">{}</text></g>",
            escape(&node.peer.to_string()),
            x + width / 2,
            y + height / 2 + 4,
            escape(&shortened(&node.name, LETTERS))
        ),
    );
}

fn arrow(out: &mut String, number: usize, arrow: &Line, scene: &Scene<'_>) {
    let (client, server) = (&scene.nodes[arrow.client], &scene.nodes[arrow.server]);
    let style = class(arrow.style);
    let Curve { path, words } = curve(client, server, arrow.beside * BESIDE);
    line(
        out,
        &format!(
            "<g class=\"arrow {style}\" data-arrow=\"{number}\"><title>{} to {}: {}</title>\
             <path d=\"{path}\" marker-end=\"url(#{style})\"/>\
             <text x=\"{}\" y=\"{}\">{}</text></g>",
            escape(&client.peer.to_string()),
            escape(&server.peer.to_string()),
            escape(&arrow.words),
            words.x,
            words.y - 4,
            escape(&shortened(&arrow.words, WORDS))
        ),
    );
}

/// The class of an arrow.
pub(super) fn class(style: Style) -> &'static str {
    match style {
        Style::Answered => "answered",
        Style::Unsure => "unsure",
        Style::Failed => "failed",
    }
}

struct Curve {
    path: String,
    words: Corner,
}

/// From side to side, whichever sides face each other; boxes above each other are joined around their right sides.
fn curve(client: &Node<'_>, server: &Node<'_>, lower: i64) -> Curve {
    let (from, to, out, into) = if client.right().x < server.left().x {
        (client.right(), server.left(), 1, -1)
    } else if server.right().x < client.left().x {
        (client.left(), server.right(), -1, 1)
    } else {
        (client.right(), server.right(), 1, 1)
    };
    let bend = ((to.x - from.x).abs() / 2).max(BEND);
    let (a, d) = ((from.x, from.y + lower), (to.x, to.y + lower));
    let (mut b, mut c) = ((a.0 + out * bend, a.1), (d.0 + into * bend, d.1));
    if std::ptr::eq(client, server) {
        (b.1, c.1) = (b.1 - BEND, c.1 + BEND);
    }
    // The point at two thirds, where arrows of one client have parted.
    let words = |a: i64, b: i64, c: i64, d: i64| (a + 6 * b + 12 * c + 8 * d) / 27;
    Curve {
        path: format!(
            "M{} {}C{} {} {} {} {} {}",
            a.0, a.1, b.0, b.1, c.0, c.1, d.0, d.1
        ),
        words: Corner {
            x: words(a.0, b.0, c.0, d.0),
            y: words(a.1, b.1, c.1, d.1),
        },
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

fn shortened(words: &str, letters: usize) -> String {
    if words.chars().count() <= letters {
        return words.to_owned();
    }
    let kept: String = words.chars().take(letters - 1).collect();
    format!("{kept}\u{2026}")
}

/// Text for an element or a quoted attribute, of XML as of HTML. What XML cannot hold is replaced.
pub(super) fn escape(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}
