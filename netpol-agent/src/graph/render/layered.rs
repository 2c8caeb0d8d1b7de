//! Boxes in columns from left to right, so that most arrows point to the right: a layered layout.
//!
//! After Sugiyama, Tagawa and Toda (1981), without dummy nodes: cycles are broken by the greedy order of Eades, Lin and
//! Smyth (1993), a box stands one layer after the last of those that point to it, and boxes are ordered within their
//! layer by the mean height of their neighbours. Whole numbers all through, so that a graph is always drawn alike.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// How often the order within the layers is improved.
const SWEEPS: usize = 8;

/// A width and a height, in pixels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Size {
    pub(super) width: i64,
    pub(super) height: i64,
}

/// The upper left corner of a box, in pixels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Corner {
    pub(super) x: i64,
    pub(super) y: i64,
}

/// How far boxes stand apart, and how high a column may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    pub(super) columns: i64,
    pub(super) rows: i64,
    /// A layer that is higher becomes several columns.
    pub(super) height: i64,
}

/// Where every box stands, and how large the whole is.
#[derive(Clone, Debug, Default)]
pub(super) struct Placed {
    pub(super) corners: Vec<Corner>,
    pub(super) size: Size,
}

/// Places boxes. Arrows are pairs of their numbers; those from a box to itself do not count.
pub(super) fn place(sizes: &[Size], arrows: &BTreeSet<(usize, usize)>, gap: Spacing) -> Placed {
    let neighbours = Neighbours::of(sizes.len(), arrows);
    let mut layers = layers(&neighbours);
    let mut placed = stack(sizes, &layers, gap);
    for sweep in 0..SWEEPS {
        sort_by_neighbours(&mut layers, &neighbours, sizes, &placed, sweep % 2 == 0);
        placed = stack(sizes, &layers, gap);
    }
    placed
}

/// Who points to whom.
struct Neighbours {
    to: Vec<Vec<usize>>,
    from: Vec<Vec<usize>>,
}

impl Neighbours {
    fn of(count: usize, arrows: &BTreeSet<(usize, usize)>) -> Self {
        let (mut to, mut from) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for &(a, b) in arrows.iter().filter(|(a, b)| a != b) {
            to[a].push(b);
            from[b].push(a);
        }
        Self { to, from }
    }

    fn count(&self) -> usize {
        self.to.len()
    }
}

/// An order in which few arrows point back: sources first, sinks last, and of the rest always the box with the most
/// arrows out less arrows in.
fn order(neighbours: &Neighbours) -> Vec<usize> {
    let count = neighbours.count();
    let mut out: Vec<usize> = neighbours.to.iter().map(Vec::len).collect();
    let mut into: Vec<usize> = neighbours.from.iter().map(Vec::len).collect();
    let most = into.iter().max().copied().unwrap_or(0);
    // Sources come first, then sinks, then the rest by their surplus.
    let rank = |out: usize, into: usize, node: usize| {
        (into > 0, out > 0, Reverse(most + out - into), node)
    };
    let mut left: BTreeSet<_> = (0..count).map(|n| rank(out[n], into[n], n)).collect();
    let (mut front, mut back) = (Vec::new(), Vec::new());
    while let Some((has_in, has_out, _, node)) = left.pop_first() {
        match (has_in, has_out) {
            (true, false) => back.push(node),
            _ => front.push(node),
        }
        let after = neighbours.to[node].iter().map(|n| (*n, true));
        let before = neighbours.from[node].iter().map(|n| (*n, false));
        for (other, is_after) in after.chain(before) {
            if left.remove(&rank(out[other], into[other], other)) {
                let degree = if is_after { &mut into } else { &mut out };
                degree[other] -= 1;
                left.insert(rank(out[other], into[other], other));
            }
        }
    }
    back.reverse();
    front.extend(back);
    front
}

/// Every box in the layer after the last that points to it, arrows that point back left out.
fn layers(neighbours: &Neighbours) -> Vec<Vec<usize>> {
    let order = order(neighbours);
    let mut at = vec![0; neighbours.count()];
    for (place, node) in order.iter().enumerate() {
        at[*node] = place;
    }
    let mut layer = vec![0; neighbours.count()];
    for node in order {
        let before = neighbours.from[node].iter().filter(|n| at[**n] < at[node]);
        layer[node] = before.map(|n| layer[*n] + 1).max().unwrap_or(0);
    }
    let mut layers = vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)];
    for (node, layer) in layer.into_iter().enumerate() {
        layers[layer].push(node);
    }
    layers
}

/// Orders each layer by where the neighbours of its boxes stand: those before it, or those after it.
fn sort_by_neighbours(
    layers: &mut [Vec<usize>],
    neighbours: &Neighbours,
    sizes: &[Size],
    placed: &Placed,
    before: bool,
) {
    let sides = if before {
        &neighbours.from
    } else {
        &neighbours.to
    };
    let middle = |node: usize| placed.corners[node].y + sizes[node].height / 2;
    for layer in layers {
        layer.sort_by_cached_key(|node| {
            let others = &sides[*node];
            let sum: i64 = others.iter().map(|other| middle(*other)).sum();
            match i64::try_from(others.len()) {
                Ok(count @ 1..) => (sum / count, *node),
                _ => (middle(*node), *node),
            }
        });
    }
}

/// Layers as columns beside each other, each in the middle of the height of the highest.
fn stack(sizes: &[Size], layers: &[Vec<usize>], gap: Spacing) -> Placed {
    let columns: Vec<&[usize]> = layers
        .iter()
        .flat_map(|layer| columns(layer, sizes, gap))
        .collect();
    let tallest = columns.iter().map(|column| height(column, sizes, gap));
    let tallest = tallest.max().unwrap_or(0);
    let mut corners = vec![Corner::default(); sizes.len()];
    let mut x = 0;
    for column in columns {
        let mut y = (tallest - height(column, sizes, gap)) / 2;
        for node in column {
            corners[*node] = Corner { x, y };
            y += sizes[*node].height + gap.rows;
        }
        let widths = column.iter().map(|node| sizes[*node].width);
        x += widths.max().unwrap_or(0) + gap.columns;
    }
    let size = Size {
        width: (x - gap.columns).max(0),
        height: tallest,
    };
    Placed { corners, size }
}

/// A layer cut into parts of at most the greatest height, each with at least one box.
fn columns<'a>(layer: &'a [usize], sizes: &[Size], gap: Spacing) -> Vec<&'a [usize]> {
    let mut columns = Vec::new();
    let (mut start, mut high) = (0, 0);
    for (at, node) in layer.iter().enumerate() {
        let with = high + gap.rows + sizes[*node].height;
        if at > start && with > gap.height {
            columns.push(&layer[start..at]);
            start = at;
        }
        high = match at == start {
            true => sizes[*node].height,
            false => with,
        };
    }
    columns.extend(layer.get(start..).filter(|rest| !rest.is_empty()));
    columns
}

fn height(column: &[usize], sizes: &[Size], gap: Spacing) -> i64 {
    let boxes: i64 = column.iter().map(|node| sizes[*node].height).sum();
    let gaps = i64::try_from(column.len()).unwrap_or(i64::MAX) - 1;
    boxes + gaps.max(0) * gap.rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAP: Spacing = Spacing {
        columns: 50,
        rows: 10,
        height: 300,
    };

    const BOX: Size = Size {
        width: 100,
        height: 20,
    };

    #[test]
    fn a_chain_goes_to_the_right_at_one_height() {
        let placed = place(&[BOX; 3], &[(0, 1), (1, 2)].into(), GAP);
        let corners: Vec<_> = placed.corners.iter().map(|c| (c.x, c.y)).collect();
        assert_eq!(corners, [(0, 0), (150, 0), (300, 0)]);
        assert_eq!(
            placed.size,
            Size {
                width: 400,
                height: 20
            }
        );
    }

    #[test]
    fn a_cycle_has_one_arrow_that_points_back() {
        let arrows = [(0, 1), (1, 2), (2, 0)].into();
        let placed = place(&[BOX; 3], &arrows, GAP);
        let back = |(a, b): &&(usize, usize)| placed.corners[*a].x >= placed.corners[*b].x;
        assert_eq!(arrows.iter().filter(back).count(), 1);
    }

    #[test]
    fn a_high_layer_becomes_several_columns() {
        let placed = place(&[BOX; 25], &BTreeSet::new(), GAP);
        assert!(placed.size.height <= GAP.height);
        assert_eq!(placed.size.width, 400);
    }

    proptest! {
        #[test]
        fn no_two_boxes_overlap_and_all_lie_inside(
            sizes in prop::collection::vec((1_i64..200, 1_i64..400), 0..30),
            arrows in prop::collection::btree_set((0_usize..30, 0_usize..30), 0..60),
        ) {
            let sizes: Vec<Size> = sizes.iter().map(|(width, height)| Size { width: *width, height: *height }).collect();
            let arrows = arrows.into_iter().filter(|(a, b)| *a < sizes.len() && *b < sizes.len()).collect();
            let placed = place(&sizes, &arrows, GAP);
            let end = |n: usize| (placed.corners[n].x + sizes[n].width, placed.corners[n].y + sizes[n].height);
            for a in 0..sizes.len() {
                prop_assert!(placed.corners[a].x >= 0 && placed.corners[a].y >= 0);
                prop_assert!(end(a).0 <= placed.size.width && end(a).1 <= placed.size.height);
                for b in 0..a {
                    let (one, other) = (placed.corners[a], placed.corners[b]);
                    let apart = end(a).0 <= other.x || end(b).0 <= one.x || end(a).1 <= other.y || end(b).1 <= one.y;
                    prop_assert!(apart, "{a} and {b} overlap");
                }
            }
        }

        #[test]
        fn without_cycles_every_arrow_points_to_the_right(
            arrows in prop::collection::btree_set((0_usize..20, 0_usize..20), 0..40),
        ) {
            let arrows: BTreeSet<_> = arrows.into_iter().filter(|(a, b)| a < b).collect();
            let placed = place(&[BOX; 20], &arrows, GAP);
            for (a, b) in arrows {
                prop_assert!(placed.corners[a].x < placed.corners[b].x);
            }
        }
    }
}
