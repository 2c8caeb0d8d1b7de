//! Sets of ports over TCP, UDP and SCTP.

use std::fmt;

use netpol_common::words::Protocol;

/// A set of (protocol, port) pairs, with ports from 1 on, kept as ranges.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortSet {
    /// Inclusive ranges of [`code`]s, in order; they neither overlap nor touch. Since no code stands for port 0, none
    /// reaches into another protocol.
    ranges: Vec<(u32, u32)>,
}

/// An unbroken range of ports of one protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortRange {
    /// The protocol.
    pub protocol: Protocol,
    /// The first port.
    pub first: u16,
    /// The last port, which may be the first.
    pub last: u16,
}

impl PortSet {
    /// No port.
    #[must_use]
    pub const fn none() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Every port of every protocol.
    #[must_use]
    pub fn all() -> Self {
        let protocols = Protocol::ALL.into_iter();
        protocols.map(PortRange::all_of).collect()
    }

    /// Whether it holds no port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it holds every port of every protocol.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// Whether it holds a port.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        let code = code(protocol, port);
        let after = self.ranges.partition_point(|(first, _)| *first <= code);
        after > 0 && self.ranges[after - 1].1 >= code
    }

    /// Whether every port of it is one of `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// How many ports it holds, over all protocols.
    #[must_use]
    pub fn len(&self) -> usize {
        let sizes = self.ranges.iter().map(|(first, last)| last - first + 1);
        sizes.sum::<u32>() as usize
    }

    /// Its ranges: TCP before UDP before SCTP, then by number.
    pub fn iter(&self) -> impl Iterator<Item = PortRange> + '_ {
        self.ranges.iter().map(|(first, last)| range(*first, *last))
    }

    /// What either holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let ranges = self.ranges.iter().chain(&other.ranges);
        Self::joined(ranges.copied().collect())
    }

    /// What both hold.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut own, mut others) = (
            self.ranges.iter().peekable(),
            other.ranges.iter().peekable(),
        );
        let mut ranges = Vec::new();
        while let (Some(one), Some(another)) = (own.peek(), others.peek()) {
            let (first, last) = (one.0.max(another.0), one.1.min(another.1));
            if first <= last {
                ranges.push((first, last));
            }
            if one.1 <= another.1 {
                own.next();
            } else {
                others.next();
            }
        }
        Self { ranges }
    }

    /// What it holds and `other` does not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    fn complement(&self) -> Self {
        let mut ranges = Vec::new();
        for protocol in Protocol::ALL {
            let (start, end) = (code(protocol, 1), code(protocol, u16::MAX));
            let mut next = start;
            let own = self.ranges.iter();
            for (first, last) in own.filter(|(first, _)| (start..=end).contains(first)) {
                if next < *first {
                    ranges.push((next, first - 1));
                }
                next = last + 1;
            }
            if next <= end {
                ranges.push((next, end));
            }
        }
        Self { ranges }
    }

    /// Ranges in any order, which may overlap and touch.
    fn joined(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= *end + 1 => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self { ranges: joined }
    }
}

impl PortRange {
    /// Every port of a protocol.
    #[must_use]
    pub fn all_of(protocol: Protocol) -> Self {
        Self {
            protocol,
            first: 1,
            last: u16::MAX,
        }
    }

    /// One port.
    #[must_use]
    pub fn one(protocol: Protocol, port: u16) -> Self {
        Self {
            protocol,
            first: port,
            last: port,
        }
    }
}

impl FromIterator<PortRange> for PortSet {
    /// The union of ranges. One that ends before it begins is empty; port 0 is none.
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let codes = ranges.into_iter().map(|range| {
            let first = code(range.protocol, range.first.max(1));
            (first, code(range.protocol, range.last))
        });
        Self::joined(codes.filter(|(first, last)| first <= last).collect())
    }
}

impl From<PortRange> for PortSet {
    fn from(range: PortRange) -> Self {
        [range].into_iter().collect()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.protocol)?;
        numbers(self, f)
    }
}

impl fmt::Display for PortSet {
    /// `TCP 80,443,8000-8010; UDP 53`; `all ports`; `no port`; `all TCP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no port");
        }
        if self.is_all() {
            return f.write_str("all ports");
        }
        let mut before = None;
        for range in self.iter() {
            match before.replace(range.protocol) {
                Some(protocol) if protocol == range.protocol => f.write_str(",")?,
                Some(_) => write!(f, "; {} ", range.protocol)?,
                None => write!(f, "{} ", range.protocol)?,
            }
            numbers(&range, f)?;
        }
        Ok(())
    }
}

fn numbers(range: &PortRange, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (range.first, range.last) {
        (1, u16::MAX) => f.write_str("all"),
        (first, last) if first == last => write!(f, "{first}"),
        (first, last) => write!(f, "{first}-{last}"),
    }
}

/// A protocol and a port in one number, ordered by protocol.
fn code(protocol: Protocol, port: u16) -> u32 {
    let high = match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1 << 16,
        Protocol::Sctp => 2 << 16,
    };
    high | u32::from(port)
}

fn range(first: u32, last: u32) -> PortRange {
    let protocol = match first >> 16 {
        0 => Protocol::Tcp,
        1 => Protocol::Udp,
        _ => Protocol::Sctp,
    };
    PortRange {
        protocol,
        first: low(first),
        last: low(last),
    }
}

/// The port of a [`code`].
fn low(code: u32) -> u16 {
    let [.., high, low] = code.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeSet<(Protocol, u16)>;

    fn any_range() -> impl Strategy<Value = PortRange> {
        let port = || prop_oneof![1u16..20, 65_520u16..=65_535];
        let protocol = prop::sample::select(&Protocol::ALL[..]);
        (protocol, port(), port()).prop_map(|(protocol, one, other)| PortRange {
            protocol,
            first: one.min(other),
            last: one.max(other),
        })
    }

    fn any_ranges() -> impl Strategy<Value = Vec<PortRange>> {
        let few = prop::collection::vec(any_range(), 0..6);
        let whole = prop::sample::subsequence(Protocol::ALL.to_vec(), 0..=3);
        (few, whole).prop_map(|(mut ranges, whole)| {
            ranges.extend(whole.into_iter().map(PortRange::all_of));
            ranges
        })
    }

    /// The ports near the ends, where ranges begin and end.
    fn probes() -> impl Iterator<Item = (Protocol, u16)> {
        let ports = || (1u16..25).chain(65_510..=65_535);
        Protocol::ALL
            .into_iter()
            .flat_map(move |protocol| ports().map(move |port| (protocol, port)))
    }

    fn model(ranges: &[PortRange]) -> Model {
        let held = |(protocol, port): &(Protocol, u16)| {
            ranges.iter().any(|range| {
                range.protocol == *protocol && (range.first..=range.last).contains(port)
            })
        };
        probes().filter(held).collect()
    }

    fn probed(set: &PortSet) -> Model {
        probes()
            .filter(|(protocol, port)| set.contains(*protocol, *port))
            .collect()
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets(one in any_ranges(), other in any_ranges()) {
            let (a, b): (PortSet, PortSet) = (one.iter().copied().collect(), other.iter().copied().collect());
            let (of_a, of_b) = (model(&one), model(&other));
            prop_assert_eq!(&probed(&a), &of_a);
            prop_assert_eq!(probed(&a.union(&b)), &of_a | &of_b);
            prop_assert_eq!(probed(&a.intersection(&b)), &of_a & &of_b);
            prop_assert_eq!(probed(&a.difference(&b)), &of_a - &of_b);
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert_eq!(a.union(&b).len(), a.len() + b.len() - a.intersection(&b).len());
            prop_assert_eq!(a.is_subset(&b), a.union(&b) == b);
            prop_assert_eq!(a.iter().collect::<PortSet>(), a);
        }

        /// Equal sets are written alike.
        #[test]
        fn ranges_never_touch(ranges in any_ranges()) {
            let set: PortSet = ranges.into_iter().collect();
            let ranges: Vec<PortRange> = set.iter().collect();
            for pair in ranges.windows(2) {
                let touching = pair[0].protocol == pair[1].protocol && u32::from(pair[0].last) + 1 >= u32::from(pair[1].first);
                prop_assert!(!touching, "{set}");
            }
        }
    }

    #[test]
    fn sets_are_written_for_people() {
        let tcp = |first, last| PortRange {
            protocol: Protocol::Tcp,
            first,
            last,
        };
        let cases = [
            (PortSet::none(), "no port"),
            (PortSet::all(), "all ports"),
            (tcp(80, 80).into(), "TCP 80"),
            (PortRange::all_of(Protocol::Udp).into(), "UDP all"),
            (
                [
                    tcp(80, 80),
                    tcp(90, 91),
                    tcp(92, 99),
                    PortRange::one(Protocol::Udp, 53),
                ]
                .into_iter()
                .collect(),
                "TCP 80,90-99; UDP 53",
            ),
        ];
        for (set, expected) in cases {
            assert_eq!(set.to_string(), expected);
        }
    }

    #[test]
    fn all_is_all_and_nothing_less() {
        assert!(PortSet::all().is_all());
        assert_eq!(PortSet::all().len(), 3 * 65_535);
        let hole = PortSet::from(PortRange::one(Protocol::Udp, 65_535));
        assert!(!PortSet::all().difference(&hole).is_all());
        assert_eq!(PortSet::all().difference(&PortSet::all()), PortSet::none());
    }
}
