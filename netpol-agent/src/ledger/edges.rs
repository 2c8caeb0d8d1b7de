//! The edges of an epoch with their curves, packed: a million of them fit into some tens of megabytes.
//!
//! They lie in the order of their keys in blocks of bytes. What changes an edge unpacks its block and packs it again,
//! which is cheap since a batch changes many edges of few blocks.

use std::fmt;
use std::mem;

use super::Curve;
use super::pack::{Reader, put_edge};
use crate::observe::ObservedKey;

/// Edges of a block at most.
const BLOCK: usize = 48;

/// A map from the key of an edge to its curve.
#[derive(Clone, Default)]
pub struct Edges {
    blocks: Vec<Box<[u8]>>,
    length: usize,
}

/// What became of an edge that was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Edit {
    /// Nothing.
    Same,
    /// Its curve was changed.
    Changed,
    /// It is to go.
    Gone,
}

impl Edges {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Each, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (ObservedKey, Curve)> {
        self.blocks.iter().flat_map(|block| unpack(block))
    }

    /// The bytes that they take.
    #[must_use]
    pub fn size(&self) -> usize {
        self.blocks.iter().map(|block| block.len()).sum()
    }

    /// Merges what is told of some edges, in any order, also of the same one.
    pub(crate) fn merge(&mut self, mut told: Vec<(ObservedKey, Curve)>) {
        if told.is_empty() {
            return;
        }
        told.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut told = told.into_iter().peekable();
        let blocks = mem::take(&mut self.blocks);
        let mut blocks = blocks.into_iter().peekable();
        let mut known = blocks.next();
        while known.is_some() || told.peek().is_some() {
            let end = blocks.peek().and_then(|block| first(block));
            let within = |(key, _): &(ObservedKey, Curve)| end.as_ref().is_none_or(|end| key < end);
            let mut news = Vec::new();
            while let Some(next) = told.next_if(within) {
                news.push(next);
            }
            match (known, news.is_empty()) {
                (Some(block), true) => self.blocks.push(block),
                (block, _) => self.merge_block(block.as_deref().unwrap_or_default(), news),
            }
            known = blocks.next();
        }
    }

    /// Merges all of `other`.
    pub(super) fn merge_all(&mut self, other: Self) {
        match self.is_empty() {
            true => *self = other,
            false => self.merge(other.iter().collect()),
        }
    }

    /// Shows every edge to `edit`. Tells whether any was changed.
    pub(super) fn edit(&mut self, mut edit: impl FnMut(&ObservedKey, &mut Curve) -> Edit) -> bool {
        let mut any = false;
        for block in mem::take(&mut self.blocks) {
            let mut edges: Vec<_> = unpack(&block).collect();
            let before = edges.len();
            let mut changed = false;
            edges.retain_mut(|(key, curve)| {
                let outcome = edit(key, curve);
                changed |= outcome != Edit::Same;
                outcome != Edit::Gone
            });
            if !changed {
                self.blocks.push(block);
                continue;
            }
            any = true;
            self.length -= before - edges.len();
            self.push(&edges);
        }
        any
    }

    /// The bytes of every block; together, those of all edges in order.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(AsRef::as_ref)
    }

    fn merge_block(&mut self, block: &[u8], news: Vec<(ObservedKey, Curve)>) {
        let mut merged: Vec<(ObservedKey, Curve)> = Vec::with_capacity(BLOCK + news.len());
        let mut known = unpack(block).peekable();
        let mut news = news.into_iter().peekable();
        let mut before = 0;
        loop {
            let old = match (known.peek(), news.peek()) {
                (Some((old, _)), Some((new, _))) => old <= new,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            before += usize::from(old);
            let next = if old { known.next() } else { news.next() };
            let Some((key, curve)) = next else { break };
            match merged.last_mut() {
                Some((last, known)) if *last == key => known.merge(&curve),
                _ => merged.push((key, curve)),
            }
        }
        self.length = self.length + merged.len() - before;
        self.push(&merged);
    }

    /// Packs edges that come after all others.
    fn push(&mut self, edges: &[(ObservedKey, Curve)]) {
        // Alike in size: a full block would be cut again by the next edge.
        let parts = edges.len().div_ceil(BLOCK).max(1);
        for part in edges.chunks(edges.len().div_ceil(parts).max(1)) {
            let mut bytes = Vec::with_capacity(part.len() * 48);
            part.iter()
                .for_each(|(key, curve)| put_edge(&mut bytes, key, curve));
            self.blocks.push(bytes.into());
        }
    }
}

/// The same edges, however they are cut into blocks.
impl PartialEq for Edges {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.iter().eq(other.iter())
    }
}

impl Eq for Edges {}

impl fmt::Debug for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(ObservedKey, Curve)> for Edges {
    fn from_iter<I: IntoIterator<Item = (ObservedKey, Curve)>>(told: I) -> Self {
        let mut edges = Self::default();
        edges.merge(told.into_iter().collect());
        edges
    }
}

/// The edges of a block. All blocks were packed here, so that they unpack.
fn unpack(block: &[u8]) -> impl Iterator<Item = (ObservedKey, Curve)> {
    let mut from = Reader(block);
    std::iter::from_fn(move || from.edge().ok())
}

/// The key of a block's first edge.
fn first(block: &[u8]) -> Option<ObservedKey> {
    Reader(block).key().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use netpol_common::abi::Direction;
    use netpol_common::words::Protocol;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::{Point, Told};
    use crate::observe::Source;

    prop_compose! {
        fn edges()(
            interface in 0..40_u32,
            source in prop::sample::select(vec![Source::Kernel, Source::Conntrack, Source::Sockets]),
            direction in prop::sample::select(vec![Direction::Egress, Direction::Ingress]),
            protocol in prop::sample::select(Protocol::ALL.to_vec()),
            port in 1..9_u16,
            remote in prop::sample::select(vec!["10.0.0.9", "2001:db8::9", "::ffff:1.2.3.4"]),
            first_seen in any::<i64>(),
            counts in prop::array::uniform3(any::<u64>()),
            times in prop::array::uniform2(any::<i64>()),
        ) -> (ObservedKey, Curve) {
            let key = ObservedKey {
                interface, source, direction, protocol, port,
                local: "10.0.0.4".parse().unwrap(),
                remote: remote.parse().unwrap(),
            };
            let [attempts, answered, refused] = counts;
            let point = Point { first: times[0], last: times[1], attempts, answered, refused };
            (key, Curve { first_seen, points: vec![point] })
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(parts in prop::collection::vec(prop::collection::vec(edges(), 0..80), 0..6)) {
            let (mut packed, mut plain) = (Edges::default(), BTreeMap::<ObservedKey, Curve>::new());
            for part in parts {
                for (key, curve) in &part {
                    match plain.get_mut(key) {
                        Some(known) => known.merge(curve),
                        None => drop(plain.insert(key.clone(), curve.clone())),
                    }
                }
                packed.merge(part);
                prop_assert_eq!(packed.len(), plain.len());
            }
            let odd = |key: &ObservedKey| key.interface % 2 == 1;
            let all: Vec<_> = plain.clone().into_iter().collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), all);
            let mut told = Told::default();
            told.epoch.edges = packed.clone();
            prop_assert_eq!(Told::decode(&told.encode()), Ok(told));
            packed.edit(|key, _| if odd(key) { Edit::Gone } else { Edit::Same });
            plain.retain(|key, _| !odd(key));
            prop_assert_eq!(packed.len(), plain.len());
            prop_assert!(packed.iter().eq(plain));
        }

        #[test]
        fn damaged_bytes_are_told(
            all in prop::collection::vec(edges(), 1..9),
            at in any::<prop::sample::Index>(),
            change in 1..=255_u8,
        ) {
            let mut told = Told::default();
            told.epoch.edges = all.into_iter().collect();
            let mut bytes = told.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(Told::decode(&bytes).is_err());
            prop_assert!(Told::decode(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn an_edge_takes_few_bytes() {
        let key = |port| ObservedKey {
            interface: 70,
            source: Source::Kernel,
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            port,
            local: "10.0.0.4".parse().unwrap(),
            remote: "10.0.0.9".parse().unwrap(),
        };
        let begin = 1_770_000_000_000_000;
        let point = |hour: i64| Point {
            first: begin + hour * 3_600_000_000,
            last: begin + hour * 3_600_000_000 + 3_500_000_000,
            attempts: 90 * hour.cast_unsigned(),
            answered: 90 * hour.cast_unsigned(),
            refused: 0,
        };
        let curve = |points| Curve {
            first_seen: begin,
            points: (1..=points).map(point).collect(),
        };
        let size = |points| {
            (0..100)
                .map(|port| (key(port), curve(points)))
                .collect::<Edges>()
                .size()
        };
        assert!(size(1) <= 100 * 40, "{}", size(1));
        assert!(size(24) <= 100 * 420, "{}", size(24));
    }
}
