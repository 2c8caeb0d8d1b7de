//! `--ranges infer`: ports of a server that change from connection to connection, such as those of passive FTP or of
//! a call-back, are written as the range from which they seem to be taken.
//!
//! They are taken for such where a server had many different ports within one hour. Ports that are known to be
//! something else are kept out: those that the inventory names, those below 1024, and those in use over several hours.
//! What is left is divided where a gap is too wide to be chance: if `n` ports are drawn evenly, a gap more than
//! `ln(n/α)` times the mean one comes in a share `α` of all draws at most. Each part with many ports is a range:
//! that of an operating system, if the ports spread over it as drawn from it; else from the lowest to the highest seen,
//! and the mean gap beyond either (the spacings of an even draw are alike, which is the idea behind the estimate of a
//! number of tanks from their serial numbers).

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::sightings::{Sightings, fleeting};
use crate::identity::Peer;
use crate::identity::objects::TargetPort;
use crate::policy::cluster::Cluster;
use crate::policy::learn::Learned;
use crate::policy::model::Direction;
use crate::policy::options::{Options, Ranges};
use crate::policy::widening::{Estimate, Widening};
use crate::policy::writer::Writer;

/// So many different ports within one hour are many.
const MANY: usize = 10;
/// In use over so many hours or more, a port is not chosen anew for each connection.
const LASTING: u32 = 3;
/// The first port that a program without privileges may take.
const FIRST: u16 = 1024;
/// How rarely chance may make a gap that divides.
const ALPHA: f64 = 0.001;
/// How rarely ports drawn from a well-known range may spread as little as those seen.
const SIGNIFICANCE: f64 = 0.05;

/// Ranges from which systems take ports: Linux's `ip_local_port_range` by default, and that of RFC 6335, which
/// Windows and BSD use.
const KNOWN: [(&str, u16, u16); 2] = [
    ("the dynamic range of RFC 6335", 49_152, 65_535),
    ("the default range of Linux", 32_768, 60_999),
];

/// A range from which a server takes ports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Range {
    /// The range, in the parts that known ports leave of it.
    pub(super) parts: Vec<(u16, u16)>,
    /// The ports that were seen of it.
    pub(super) seen: BTreeSet<u16>,
    pub(super) estimate: Estimate,
}

/// Writes the ranges instead of the ports that were seen.
pub(super) fn widen(
    writer: &Writer<'_>,
    options: &Options,
    (own, direction): (&WorkloadName, Direction),
    learned: &mut Vec<Learned>,
) -> Vec<Widening> {
    if options.ranges != Ranges::Infer {
        return Vec::new();
    }
    let mut said = Vec::new();
    for server in servers(own, direction, learned) {
        let declared = declared(writer.cluster, &server);
        for protocol in Protocol::ALL {
            let sightings = (writer.sightings).and_then(|all| all.get(&server, protocol));
            let Some(sightings) = sightings else { continue };
            for range in infer(sightings, &declared[&protocol]) {
                let peers = write(&server, protocol, &range, learned);
                said.extend((!peers.is_empty()).then(|| Widening::PortRange {
                    server: server.clone(),
                    peers,
                    protocol,
                    beyond: size(&range.parts) - range.seen.len(),
                    ranges: range.parts,
                    estimate: range.estimate,
                }));
            }
        }
    }
    learned.sort_by(|a, b| a.support.edge.cmp(&b.support.edge));
    said
}

/// The workloads whose ports are concerned.
fn servers(
    own: &WorkloadName,
    direction: Direction,
    learned: &[Learned],
) -> BTreeSet<WorkloadName> {
    match direction {
        Direction::Ingress => [own.clone()].into(),
        Direction::Egress => {
            let servers = learned.iter().filter_map(|one| match one.peer() {
                Peer::Workload(name) => Some(name.clone()),
                _ => None,
            });
            servers.collect()
        }
    }
}

/// The ports of a workload that the inventory names, by protocol.
fn declared(cluster: &Cluster, server: &WorkloadName) -> BTreeMap<Protocol, BTreeSet<u16>> {
    let mut declared: BTreeMap<Protocol, BTreeSet<u16>> = Protocol::ALL
        .into_iter()
        .map(|protocol| (protocol, BTreeSet::new()))
        .collect();
    let named = cluster.named_ports.get(server).into_iter().flatten();
    let targets = cluster
        .services_of(server)
        .flat_map(|service| &service.ports);
    let targets = targets.filter_map(|port| match port.target {
        TargetPort::Number(number) => Some((port.protocol, number)),
        TargetPort::Name(_) => None,
    });
    for (protocol, port) in named
        .map(|(_, protocol, port)| (*protocol, *port))
        .chain(targets)
    {
        declared.entry(protocol).or_default().insert(port);
    }
    declared
}

/// The ranges from which a server seems to take ports, less those that are `declared`.
pub(super) fn infer(sightings: &Sightings, declared: &BTreeSet<u16>) -> Vec<Range> {
    let loose = fleeting(sightings, LASTING).into_iter();
    let loose: Vec<u16> = loose
        .filter(|port| *port >= FIRST && !declared.contains(port))
        .collect();
    let mut ranges = Vec::new();
    for part in divide(&loose) {
        let mut by_hour: BTreeMap<u32, usize> = BTreeMap::new();
        for hour in part.iter().flat_map(|port| sightings[port].iter()) {
            *by_hour.entry(hour).or_default() += 1;
        }
        let within_an_hour = by_hour.into_values().max().unwrap_or(0);
        if within_an_hour < MANY {
            continue;
        }
        let seen: BTreeSet<u16> = part.iter().copied().collect();
        let (first, last, known) = bounds(part);
        let others = sightings
            .keys()
            .chain(declared)
            .filter(|port| !seen.contains(port));
        ranges.push(Range {
            parts: without((first, last), &others.copied().collect()),
            estimate: Estimate {
                ports: part.len(),
                within_an_hour,
                seen: (part[0], part[part.len() - 1]),
                known,
            },
            seen,
        });
    }
    ranges
}

/// Sorted ports, divided at gaps too wide to be chance.
fn divide(ports: &[u16]) -> Vec<&[u16]> {
    if ports.len() < MANY {
        return Vec::new();
    }
    let widest = (1..ports.len()).max_by_key(|place| {
        let gap = ports[*place] - ports[place - 1];
        (gap, usize::MAX - place)
    });
    let (number, span) = (
        ports.len() as f64,
        f64::from(ports[ports.len() - 1] - ports[0]),
    );
    let limit = span / (number - 1.0) * (number / ALPHA).ln();
    match widest {
        Some(place) if f64::from(ports[place] - ports[place - 1]) > limit => {
            let (low, high) = ports.split_at(place);
            [divide(low), divide(high)].concat()
        }
        _ => vec![ports],
    }
}

/// The bounds of the range from which sorted ports were drawn, and its name if it has one.
fn bounds(ports: &[u16]) -> (u16, u16, Option<&'static str>) {
    let (low, high) = (ports[0], ports[ports.len() - 1]);
    let spread = f64::from(high - low) + 1.0;
    let draws = i32::try_from(ports.len()).unwrap_or(i32::MAX);
    let fits = |(_, first, last): &&(&str, u16, u16)| {
        let size = f64::from(last - first) + 1.0;
        *first <= low && high <= *last && (spread / size).powi(draws) >= SIGNIFICANCE
    };
    if let Some((name, first, last)) = KNOWN.iter().find(fits) {
        return (*first, *last, Some(name));
    }
    let unseen = usize::from(high - low) + 1 - ports.len();
    let gap = u16::try_from(unseen.div_ceil(ports.len() - 1)).unwrap_or(u16::MAX);
    let first = low.saturating_sub(gap).max(FIRST);
    (first, high.saturating_add(gap), None)
}

/// The parts of a range that some ports leave.
fn without((first, last): (u16, u16), ports: &BTreeSet<u16>) -> Vec<(u16, u16)> {
    let mut parts = Vec::new();
    let mut from = Some(first);
    for port in ports.range(first..=last) {
        if let Some(start) = from.filter(|start| start < port) {
            parts.push((start, port - 1));
        }
        from = port.checked_add(1);
    }
    parts.extend(
        from.filter(|start| *start <= last)
            .map(|start| (start, last)),
    );
    parts
}

fn size(parts: &[(u16, u16)]) -> usize {
    parts
        .iter()
        .map(|(first, last)| usize::from(last - first) + 1)
        .sum()
}

/// Gives every peer that was seen on a port of the range all of it; tells these peers.
fn write(
    server: &WorkloadName,
    protocol: Protocol,
    range: &Range,
    learned: &mut Vec<Learned>,
) -> BTreeSet<Peer> {
    let mut first_of: BTreeMap<Peer, Learned> = BTreeMap::new();
    for one in &*learned {
        let edge = &one.support.edge;
        let own = matches!(&edge.server, Peer::Workload(name) if name == server);
        if own && edge.protocol == protocol && range.seen.contains(&edge.port) {
            first_of
                .entry(one.peer().clone())
                .or_insert_with(|| one.clone());
        }
    }
    for one in first_of.values() {
        learned.extend(range.parts.iter().map(|part| {
            let mut one = one.clone();
            one.support.range = Some(*part);
            one
        }));
    }
    first_of.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::Windows;

    fn hours(all: &[u32]) -> Windows {
        let mut windows = Windows::default();
        all.iter().for_each(|hour| windows.insert(*hour));
        windows
    }

    fn sightings(ports: impl IntoIterator<Item = u16>) -> Sightings {
        let ports = ports.into_iter();
        ports.map(|port| (port, hours(&[7]))).collect()
    }

    /// Ports spread evenly over a range: the multiples of the golden ratio, less whole numbers.
    fn drawn(first: u16, last: u16, number: u32) -> Vec<u16> {
        let size = u32::from(last - first) + 1;
        let place = |draw: u32| (draw * 40_503 % 65_536) * size / 65_536;
        (0..number)
            .map(|draw| first + u16::try_from(place(draw)).unwrap())
            .collect()
    }

    fn only(ranges: Vec<Range>) -> Range {
        let [range] = <[Range; 1]>::try_from(ranges).unwrap();
        range
    }

    #[test]
    fn ports_drawn_from_a_systems_range_are_known_by_it() {
        for (name, first, last) in KNOWN {
            let range = only(infer(&sightings(drawn(first, last, 60)), &BTreeSet::new()));
            assert_eq!(
                (range.parts, range.estimate.known),
                (vec![(first, last)], Some(name))
            );
        }
    }

    #[test]
    fn other_ports_reach_a_mean_gap_beyond_those_seen() {
        let ports = (0..11u16).map(|number| 30_000 + 10 * number);
        let range = only(infer(&sightings(ports), &BTreeSet::new()));
        assert_eq!(range.parts, [(29_991, 30_109)]);
        assert_eq!(
            range.estimate,
            Estimate {
                ports: 11,
                within_an_hour: 11,
                seen: (30_000, 30_100),
                known: None
            }
        );
    }

    #[test]
    fn a_mean_gap_is_rounded_up() {
        assert_eq!(bounds(&[10_000, 10_001, 10_003]), (9_999, 10_004, None));
        assert_eq!(bounds(&[10_000, 10_001, 10_002]), (10_000, 10_002, None));
    }

    #[test]
    fn a_systems_range_is_known_by_ports_that_spread_as_far_as_chance_would_have_them() {
        let (name, first, last) = KNOWN[0];
        let size = last - first + 1;
        let is_likely = |spread: u16| {
            let part = f64::from(spread) / f64::from(size);
            part.powi(100) >= SIGNIFICANCE
        };
        let narrowest = (1..=size).find(|spread| is_likely(*spread)).expect("one");
        let known = |spread: u16| {
            let mut ports: Vec<u16> = (first..first + 99).collect();
            ports.push(first + spread - 1);
            bounds(&ports).2
        };
        assert_eq!(known(narrowest), Some(name));
        assert_ne!(known(narrowest - 1), Some(name));
    }

    #[test]
    fn known_ports_are_kept_out() {
        let mut seen = sightings(drawn(30_000, 30_999, 40));
        seen.insert(443, hours(&[7]));
        seen.insert(8080, hours(&[7]));
        seen.insert(30_500, hours(&[1, 9]));
        seen.remove(&30_200);
        let range = only(infer(&seen, &[30_200].into()));
        for port in [443, 8080, 30_500, 30_200] {
            assert!(
                !range
                    .parts
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&port)),
                "{port}"
            );
        }
        assert_eq!(range.parts.len(), 3);
    }

    #[test]
    fn few_ports_or_ports_of_many_hours_are_no_range() {
        assert_eq!(
            infer(&sightings(drawn(32_768, 60_999, 9)), &BTreeSet::new()),
            []
        );
        let hourly = drawn(32_768, 60_999, 40).into_iter().enumerate();
        let hourly = hourly
            .map(|(hour, port)| (port, hours(&[u32::try_from(hour).unwrap()])))
            .collect();
        assert_eq!(infer(&hourly, &BTreeSet::new()), []);
        let timeless = drawn(32_768, 60_999, 40)
            .into_iter()
            .map(|port| (port, Windows::default()))
            .collect();
        assert_eq!(infer(&timeless, &BTreeSet::new()), []);
        let declared: BTreeSet<u16> = drawn(9000, 9999, 40).into_iter().collect();
        assert_eq!(infer(&sightings(drawn(9000, 9999, 40)), &declared), []);
    }

    #[test]
    fn a_gap_divides_where_chance_would_hardly_make_it() {
        let ports = |gap: u16| -> Vec<u16> {
            let (low, high) = (30_000u16..30_100, 30_090 + gap..30_100 + gap);
            low.step_by(10).chain(high.step_by(10)).collect()
        };
        // ln(11/0.001) times the mean gap is just above the one, and just below the other.
        assert_eq!(divide(&ports(1206)), [&ports(1206)[..]]);
        let wide = ports(1207);
        assert_eq!(divide(&wide), [&wide[..10]]);
        let two: Vec<u16> = [30_000, 40_000]
            .into_iter()
            .flat_map(|first| (first..first + 120).step_by(10))
            .collect();
        assert_eq!(divide(&two), [&two[..12], &two[12..]]);
        assert_eq!(divide(&two[..9]), [&[0u16; 0]; 0]);
    }

    #[test]
    fn a_range_of_a_system_is_taken_where_the_ports_spread_over_it() {
        let spread = |low: u16, high: u16| {
            let inner = (0..10).map(|place| low + 100 + place);
            let ports: Vec<u16> = [low].into_iter().chain(inner).chain([high]).collect();
            bounds(&ports)
        };
        let linux = (32_768, 60_999, Some("the default range of Linux"));
        assert_eq!(spread(32_768, 60_999), linux);
        // 12 ports drawn from 28,232 spread over fewer than 21,995 of them once in twenty draws.
        assert_eq!(spread(32_768, 32_768 + 21_994), linux);
        assert_eq!(spread(60_999 - 21_994, 60_999), linux);
        assert_eq!(spread(60_999 - 21_993, 60_999).2, None);
        assert_eq!(spread(32_767, 60_999).2, None);
        assert_eq!(spread(32_768, 61_000).2, None);
        assert_eq!(bounds(&[1030, 1034, 1044]), (1024, 1050, None));
        assert_eq!(bounds(&[2000, 2004, 2014]), (1994, 2020, None));
        assert_eq!(bounds(&[65_000, 65_100, 65_500]).1, 65_535);
    }

    #[test]
    fn many_ports_are_many_within_an_hour() {
        let at = |port: u16, hour: u32| (port, hours(&[hour]));
        let of = |early: u16| {
            let seen =
                (0..12).map(|number| at(30_000 + 10 * number, 7 + u32::from(number >= early)));
            infer(&seen.collect(), &BTreeSet::new())
        };
        assert_eq!(only(of(10)).estimate.within_an_hour, 10);
        assert_eq!(of(9), []);
        let low = (0..11u16).map(|number| 1014 + 10 * number);
        let range = only(infer(&sightings(low), &BTreeSet::new()));
        assert_eq!(
            (range.estimate.ports, range.estimate.seen),
            (10, (1024, 1114))
        );
        assert_eq!(range.parts, [(1024, 1123)]);
    }

    #[test]
    fn what_was_in_use_for_two_hours_is_fleeting_and_for_three_is_not() {
        let seen: Sightings = [(1, &[7, 8][..]), (2, &[7, 9]), (3, &[7]), (4, &[])]
            .map(|(port, all)| (port, hours(all)))
            .into();
        assert_eq!(fleeting(&seen, LASTING), [1, 3].into());
    }

    proptest! {
        /// The parts are what the ports leave, in order, and none touches the next.
        #[test]
        fn parts_are_the_range_less_the_ports(
            base in prop::sample::select(&[0u16, 1000, 65_505][..]),
            (first, more) in (0u16..16, 0u16..16),
            ports in prop::collection::btree_set(0u16..31, 0..20),
        ) {
            let (first, last) = (base + first, base + first + more);
            let ports: BTreeSet<u16> = ports.into_iter().map(|port| base + port).collect();
            let parts = without((first, last), &ports);
            let left: Vec<u16> = parts.iter().flat_map(|(first, last)| *first..=*last).collect();
            let expected: Vec<u16> = (first..=last).filter(|port| !ports.contains(port)).collect();
            prop_assert_eq!(size(&parts), expected.len());
            prop_assert_eq!(left, expected);
            prop_assert!(parts.windows(2).all(|pair| pair[1].0 - pair[0].1 > 1), "{:?}", parts);
        }
    }
}
