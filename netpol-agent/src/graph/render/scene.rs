//! A drawing before it is written: where every box, frame and arrow of a graph stands, in pixels.
//!
//! Each namespace is laid out by itself; then the namespaces, and the peers outside any, are laid out among each other.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows::{Style, arrows, group, groups, label};
use super::layered::{Corner, Size, Spacing, place};
use crate::graph::FlowGraph;
use crate::identity::Peer;

/// The height of a box.
const BOX_HEIGHT: i64 = 30;
/// Between the words and the sides of a box.
const MARGIN: i64 = 12;
/// What a letter of the drawing's font takes at most, in tenths of a pixel.
const LETTER: i64 = 75;
/// Between a frame and what is in it; above, the title stands besides.
const PADDING: i64 = 18;
const TITLE: i64 = 24;
/// Around the whole.
const BORDER: i64 = 20;
/// Names with more letters are shortened in the drawing.
pub(super) const LETTERS: usize = 48;

const WITHIN: Spacing = Spacing {
    columns: 170,
    rows: 16,
    height: 1_500,
};

const AMONG: Spacing = Spacing {
    columns: 190,
    rows: 26,
    height: 3_000,
};

/// A peer's box.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) peer: &'a Peer,
    /// The whole name within its group.
    pub(super) name: String,
    pub(super) corner: Corner,
    pub(super) size: Size,
}

/// The frame of a namespace.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    pub(super) namespace: &'a str,
    pub(super) corner: Corner,
    pub(super) size: Size,
}

/// An arrow between two nodes, given by their numbers.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) style: Style,
    /// Ports and notes.
    pub(super) words: String,
    /// How many lines between the same two were drawn before.
    pub(super) beside: i64,
}

/// The whole drawing.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) frames: Vec<Frame<'a>>,
    pub(super) lines: Vec<Line>,
    pub(super) size: Size,
}

/// What is moved as one: a namespace, or a peer outside any.
struct Part<'a> {
    namespace: Option<&'a str>,
    nodes: Vec<usize>,
    size: Size,
}

impl<'a> Scene<'a> {
    /// Lays a graph out.
    pub(super) fn of(graph: &'a FlowGraph) -> Self {
        let mut scene = Self::default();
        let mut parts = Vec::new();
        for (namespace, peers) in groups(graph) {
            let first = scene.nodes.len();
            scene.nodes.extend(peers.into_iter().map(Node::of));
            let nodes = first..scene.nodes.len();
            match namespace {
                Some(_) => parts.push(Part::frame(namespace, nodes.collect())),
                None => parts.extend(nodes.map(|node| Part::single(node, &scene.nodes))),
            }
        }
        scene.draw_lines(graph);
        scene.place_parts(parts);
        scene
    }

    fn draw_lines(&mut self, graph: &'a FlowGraph) {
        let numbers = self.nodes.iter().enumerate();
        let numbers: BTreeMap<&Peer, usize> = numbers.map(|(at, node)| (node.peer, at)).collect();
        let mut drawn: BTreeMap<(usize, usize), i64> = BTreeMap::new();
        for (id, arrow) in arrows(graph) {
            let (client, server) = (numbers[id.client], numbers[id.server]);
            let pair = (client.min(server), client.max(server));
            let beside = drawn.entry(pair).or_default();
            self.lines.push(Line {
                client,
                server,
                style: id.style,
                words: arrow.words(&id),
                beside: *beside,
            });
            *beside += 1;
        }
    }

    fn place_parts(&mut self, mut parts: Vec<Part<'a>>) {
        for part in parts.iter_mut().filter(|part| part.namespace.is_some()) {
            self.place_within(part);
        }
        let mut part_of = vec![0; self.nodes.len()];
        for (number, part) in parts.iter().enumerate() {
            part.nodes.iter().for_each(|node| part_of[*node] = number);
        }
        let lines = self.lines.iter();
        let arrows = lines.map(|line| (part_of[line.client], part_of[line.server]));
        let sizes: Vec<Size> = parts.iter().map(|part| part.size).collect();
        let placed = place(&sizes, &arrows.collect(), AMONG);
        for (part, corner) in parts.into_iter().zip(placed.corners) {
            self.move_part(&part, corner.shifted(BORDER, BORDER));
        }
        self.size = Size {
            width: placed.size.width + 2 * BORDER,
            height: placed.size.height + 2 * BORDER,
        };
    }

    /// Lays the nodes of a namespace out from (0, 0) on, and makes the frame as large as they need.
    fn place_within(&mut self, part: &mut Part<'_>) {
        let numbers = part.nodes.iter().enumerate();
        let numbers: BTreeMap<usize, usize> = numbers.map(|(at, node)| (*node, at)).collect();
        let lines = self.lines.iter().filter_map(|line| {
            let client = numbers.get(&line.client)?;
            Some((*client, *numbers.get(&line.server)?))
        });
        let arrows: BTreeSet<_> = lines.collect();
        let sizes: Vec<Size> = part.nodes.iter().map(|n| self.nodes[*n].size).collect();
        let placed = place(&sizes, &arrows, WITHIN);
        for (node, corner) in part.nodes.iter().zip(placed.corners) {
            self.nodes[*node].corner = corner.shifted(PADDING, PADDING + TITLE);
        }
        let title = part.namespace.map_or(0, width);
        part.size = Size {
            width: placed.size.width.max(title) + 2 * PADDING,
            height: placed.size.height + 2 * PADDING + TITLE,
        };
    }

    fn move_part(&mut self, part: &Part<'a>, to: Corner) {
        for node in &part.nodes {
            let node = &mut self.nodes[*node];
            node.corner = node.corner.shifted(to.x, to.y);
        }
        self.frames.extend(part.namespace.map(|namespace| Frame {
            namespace,
            corner: to,
            size: part.size,
        }));
    }
}

impl<'a> Part<'a> {
    fn frame(namespace: Option<&'a str>, nodes: Vec<usize>) -> Self {
        Self {
            namespace,
            nodes,
            size: Size::default(),
        }
    }

    fn single(node: usize, nodes: &[Node<'a>]) -> Self {
        Self {
            namespace: None,
            nodes: vec![node],
            size: nodes[node].size,
        }
    }
}

impl<'a> Node<'a> {
    fn of(peer: &'a Peer) -> Self {
        let name = label(peer);
        let size = Size {
            width: width(&name) + 2 * MARGIN,
            height: BOX_HEIGHT,
        };
        Self {
            peer,
            name,
            corner: Corner::default(),
            size,
        }
    }

    /// The namespace, if it has one.
    pub(super) fn namespace(&self) -> Option<&'a str> {
        group(self.peer)
    }

    /// The middle of its left side.
    pub(super) fn left(&self) -> Corner {
        self.corner.shifted(0, self.size.height / 2)
    }

    /// The middle of its right side.
    pub(super) fn right(&self) -> Corner {
        self.left().shifted(self.size.width, 0)
    }
}

impl Corner {
    fn shifted(self, right: i64, down: i64) -> Self {
        Self {
            x: self.x + right,
            y: self.y + down,
        }
    }
}

/// What a name takes when it is drawn.
fn width(name: &str) -> i64 {
    let letters = name.chars().count().min(LETTERS);
    i64::try_from(letters).unwrap_or(0) * LETTER / 10
}
