//! Sets of ports, and how they are written: unbroken runs as ranges, gaps never bridged.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::words::Protocol;

use super::cover::Columns;
use super::model::PortSpec;

/// Ports by protocol.
pub(super) type Ports = BTreeSet<(Protocol, u16)>;

/// The fewest entries that allow exactly these ports.
pub(super) fn specs(ports: &Ports) -> Vec<PortSpec> {
    let mut specs: Vec<PortSpec> = Vec::new();
    for &(protocol, port) in ports {
        match specs.last_mut() {
            Some(spec) if spec.protocol == protocol && port - spec.last() == 1 => {
                spec.end_port = Some(port)
            }
            _ => specs.push(PortSpec {
                protocol,
                port,
                end_port: None,
            }),
        }
    }
    specs
}

/// An unbroken run of ports that the same classes have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Run {
    pub(super) protocol: Protocol,
    pub(super) first: u16,
    pub(super) last: u16,
    /// The classes that have all of it; no other has any of it.
    pub(super) classes: Vec<usize>,
}

impl Run {
    fn touches(&self, next: &Self) -> bool {
        self.protocol == next.protocol && next.first - self.last == 1
    }

    /// Whether any of some ports is one of its own.
    pub(super) fn meets(&self, protocol: Protocol, (first, last): (u16, u16)) -> bool {
        self.protocol == protocol && self.first <= last && first <= self.last
    }
}

/// The runs of the ports of some classes, in order.
pub(super) fn runs<'a>(classes: impl Iterator<Item = &'a [(Protocol, u16)]>) -> Vec<Run> {
    let mut having: BTreeMap<(Protocol, u16), Vec<usize>> = BTreeMap::new();
    for (class, ports) in classes.enumerate() {
        for port in ports {
            having.entry(*port).or_default().push(class);
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for ((protocol, port), classes) in having {
        let run = Run {
            protocol,
            first: port,
            last: port,
            classes,
        };
        match runs.last_mut() {
            Some(last) if last.touches(&run) && last.classes == run.classes => last.last = port,
            _ => runs.push(run),
        }
    }
    runs
}

/// Some runs as the columns of a relation. Runs that touch no other and that the same classes have are one column:
/// in some least cover they always stand together.
pub(super) struct Table {
    /// The runs that each column stands for.
    pub(super) columns: Vec<Vec<usize>>,
    pub(super) shape: Columns,
}

impl Table {
    /// The columns of the runs of these numbers.
    pub(super) fn of(runs: &[Run], chosen: &[usize]) -> Self {
        let mut table = Self {
            columns: Vec::new(),
            shape: Columns::default(),
        };
        let mut alone: BTreeMap<&[usize], usize> = BTreeMap::new();
        for (place, number) in chosen.iter().enumerate() {
            let run = &runs[*number];
            let before = place.checked_sub(1).map(|before| &runs[chosen[before]]);
            let joined = before.is_some_and(|before| before.touches(run));
            let after = chosen.get(place + 1).map(|after| &runs[*after]);
            let is_alone = !joined && !after.is_some_and(|after| run.touches(after));
            match alone.get(&*run.classes) {
                Some(column) if is_alone => {
                    table.columns[*column].push(*number);
                    table.shape.weights[*column] += 1;
                }
                _ => {
                    if is_alone {
                        alone.insert(&run.classes, table.columns.len());
                    }
                    table.columns.push(vec![*number]);
                    table.shape.joined.push(joined);
                    table.shape.weights.push(1);
                }
            }
        }
        table
    }

    /// The entries for a run of columns.
    pub(super) fn specs(&self, runs: &[Run], columns: &[usize]) -> Vec<PortSpec> {
        let members: Vec<&Run> = columns
            .iter()
            .flat_map(|column| &self.columns[*column])
            .map(|number| &runs[*number])
            .collect();
        let mut specs: Vec<PortSpec> = Vec::new();
        for (place, run) in members.iter().enumerate() {
            let joined = place > 0 && members[place - 1].touches(run);
            match specs.last_mut() {
                Some(spec) if joined => spec.end_port = Some(run.last),
                _ => specs.push(spec(run)),
            }
        }
        specs
    }
}

fn spec(run: &Run) -> PortSpec {
    PortSpec {
        protocol: run.protocol,
        port: run.first,
        end_port: (run.last > run.first).then_some(run.last),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(ports: &[(Protocol, u16)]) -> Vec<String> {
        specs(&ports.iter().copied().collect())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn runs_become_ranges_and_gaps_stay() {
        use Protocol::{Tcp, Udp};
        assert_eq!(written(&[(Tcp, 80)]), ["TCP 80"]);
        assert_eq!(written(&[(Tcp, 80), (Tcp, 81)]), ["TCP 80-81"]);
        assert_eq!(written(&[(Tcp, 82), (Tcp, 80)]), ["TCP 80", "TCP 82"]);
        assert_eq!(written(&[(Tcp, 80), (Udp, 81)]), ["TCP 80", "UDP 81"]);
        assert_eq!(
            written(&[(Tcp, 65534), (Tcp, 65535), (Udp, 1)]),
            ["TCP 65534-65535", "UDP 1"]
        );
    }

    fn run(protocol: Protocol, first: u16, last: u16, classes: &[usize]) -> Run {
        Run {
            protocol,
            first,
            last,
            classes: classes.to_vec(),
        }
    }

    #[test]
    fn runs_of_the_same_classes_that_touch_none_are_one_column() {
        use Protocol::{Tcp, Udp};
        let runs = [
            run(Tcp, 10, 10, &[0]),
            run(Tcp, 20, 21, &[0]),
            run(Tcp, 30, 30, &[0]),
            run(Tcp, 31, 31, &[0, 1]),
            run(Tcp, 32, 32, &[0]),
            run(Tcp, 40, 40, &[0, 1]),
            run(Tcp, 50, 50, &[2]),
            run(Udp, 51, 51, &[0]),
            run(Udp, 60, 60, &[0, 1]),
        ];
        assert!(runs[2].touches(&runs[3]) && !runs[6].touches(&runs[7]));
        let table = Table::of(&runs, &[0, 1, 2, 3, 4, 5, 7, 8]);
        let columns = [&[0, 1, 7][..], &[2], &[3], &[4], &[5, 8]];
        assert_eq!(table.columns, columns);
        assert_eq!(table.shape.weights, [3, 1, 1, 1, 2]);
        assert_eq!(table.shape.joined, [false, false, true, true, false]);
        let written = |columns: &[usize]| {
            let specs = table.specs(&runs, columns);
            specs.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(written(&[0]), ["TCP 10", "TCP 20-21", "UDP 51"]);
        assert_eq!(written(&[1, 2, 3]), ["TCP 30-32"]);
        assert_eq!(written(&[2]), ["TCP 31"]);
    }

    #[test]
    fn ports_in_a_row_of_the_same_classes_are_one_run() {
        use Protocol::{Tcp, Udp};
        let first = [(Tcp, 80), (Tcp, 81), (Tcp, 82), (Tcp, 84), (Udp, 85)];
        let second = [(Tcp, 82)];
        let expected = [
            run(Tcp, 80, 81, &[0]),
            run(Tcp, 82, 82, &[0, 1]),
            run(Tcp, 84, 84, &[0]),
            run(Udp, 85, 85, &[0]),
        ];
        assert_eq!(runs([&first[..], &second].into_iter()), expected);
    }

    #[test]
    fn a_run_meets_what_has_a_port_of_it() {
        use Protocol::{Tcp, Udp};
        let run = run(Tcp, 10, 12, &[0]);
        for (first, last) in [(10, 10), (12, 12), (9, 10), (12, 13), (1, 99), (11, 11)] {
            assert!(run.meets(Tcp, (first, last)), "{first}-{last}");
            assert!(!run.meets(Udp, (first, last)), "{first}-{last}");
        }
        for (first, last) in [(9, 9), (13, 13), (1, 9), (13, 99)] {
            assert!(!run.meets(Tcp, (first, last)), "{first}-{last}");
        }
    }

    fn any_ports() -> impl Strategy<Value = Ports> {
        let port = prop_oneof![1u16..40, 65500u16..=65535];
        prop::collection::btree_set((prop::sample::select(&Protocol::ALL[..]), port), 0..40)
    }

    proptest! {
        #[test]
        fn entries_allow_exactly_the_ports_and_never_touch(ports in any_ports()) {
            let specs = specs(&ports);
            let allowed: Ports = specs
                .iter()
                .flat_map(|spec| (spec.port..=spec.last()).map(|port| (spec.protocol, port)))
                .collect();
            prop_assert_eq!(&allowed, &ports);
            for pair in specs.windows(2) {
                let touching = pair[0].protocol == pair[1].protocol
                    && u32::from(pair[0].last()) + 1 >= u32::from(pair[1].port);
                prop_assert!(!touching, "{} and {}", pair[0], pair[1]);
            }
        }
    }
}
