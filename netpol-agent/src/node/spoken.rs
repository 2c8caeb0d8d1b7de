//! Whether anybody in a network namespace has spoken yet, by the namespace's own counters.
//!
//! The kernel itself greets its neighbours on every new interface, so that packets on it do not mean that the pod has sent
//! any. Connections and datagrams are counted by namespace in `/proc/<pid>/net/{snmp,snmp6,sctp/snmp}`
//! (`Documentation/networking/snmp_counter.rst`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::netns::Numbers;
use super::processes::{self, Inhabitants};

/// The number of the process namespace in which a system starts: `PROC_PID_INIT_INO` (`linux/proc_ns.h`).
const FIRST_PROCESSES: &str = "pid:[4026531836]";
/// Counters of connections made or taken and of datagrams exchanged, by their names in `snmp6` and `sctp/snmp`, or by the
/// protocol and the name in `snmp`.
const SPOKEN: &[&str] = &[
    "IpForwDatagrams",
    "Ip6OutForwDatagrams",
    "SctpActiveEstabs",
    "SctpPassiveEstabs",
    "TcpActiveOpens",
    "TcpPassiveOpens",
    "Udp6InDatagrams",
    "Udp6OutDatagrams",
    "UdpInDatagrams",
    "UdpLite6InDatagrams",
    "UdpLite6OutDatagrams",
    "UdpLiteInDatagrams",
    "UdpLiteOutDatagrams",
    "UdpOutDatagrams",
];
/// Counters of packets that the namespace's own kernel has sent.
const SENT: &[&str] = &["IpOutRequests", "Ip6OutRequests"];
/// What the kernel may send besides, on a new interface: ARP is not counted.
const GREETINGS: u64 = 32;

/// Which of these network namespaces are silent so far: nobody in them has made a connection, taken one, or exchanged a
/// datagram. Those of which that is not known are left out. `carried` tells how many packets have come out of each.
///
/// Where more came out than the namespace's own kernel has sent, somebody speaks past it: a sandbox with a network stack
/// of its own, or a virtual machine. A namespace without a process is silent, but only whoever sees every process of the
/// system knows that it has none.
#[must_use]
pub fn silent(proc: &Path, carried: &BTreeMap<i32, u64>) -> BTreeSet<i32> {
    let found = Numbers::open()
        .ok()
        .and_then(|numbers| processes::inhabitants(proc, &numbers).ok());
    let Some(Inhabitants { oldest, .. }) = found else {
        return BTreeSet::new();
    };
    let sees_all = sees_every_process(proc);
    let is_silent = |(namespace, carried): &(&i32, &u64)| match oldest.get(namespace) {
        Some(process) => Told::of(proc, *process).is_ok_and(|told| told.is_silent(**carried)),
        None => sees_all && **carried <= GREETINGS,
    };
    let namespaces = carried.iter().filter(is_silent);
    namespaces.map(|(namespace, _)| *namespace).collect()
}

fn sees_every_process(proc: &Path) -> bool {
    let own = fs::read_link(proc.join("self/ns/pid"));
    own.is_ok_and(|own| own.as_os_str() == FIRST_PROCESSES)
}

/// What a network namespace counted.
#[derive(Debug)]
struct Told {
    spoken: bool,
    sent: u64,
}

impl Told {
    /// What the network namespace of a process, or of a thread, has counted.
    fn of(proc: &Path, process: u32) -> io::Result<Self> {
        let folder = proc.join(process.to_string()).join("net");
        let pairs = fs::read_to_string(folder.join("snmp"))?;
        // Without a protocol there is no file of its counters.
        let lines = ["snmp6", "sctp/snmp"].map(|name| fs::read_to_string(folder.join(name)));
        let mut told = Self {
            spoken: false,
            sent: 0,
        };
        for lines in lines.iter().flatten() {
            for (name, value) in lines
                .lines()
                .filter_map(|line| line.split_once(char::is_whitespace))
            {
                told.note(name, value.trim());
            }
        }
        told.note_pairs(&pairs);
        Ok(told)
    }

    /// Lines that come in pairs, names and then values, each after the protocol.
    fn note_pairs(&mut self, text: &str) {
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let Some((protocol, names)) = names.split_once(':') else {
                continue;
            };
            let values = values.split_ascii_whitespace().skip(1);
            for (name, value) in names.split_ascii_whitespace().zip(values) {
                self.note(&format!("{protocol}{name}"), value);
            }
        }
    }

    fn note(&mut self, name: &str, value: &str) {
        self.spoken |= SPOKEN.contains(&name) && value != "0";
        if SENT.contains(&name) {
            let value: u64 = value.parse().unwrap_or(0);
            self.sent = self.sent.saturating_add(value);
        }
    }

    fn is_silent(&self, carried: u64) -> bool {
        !self.spoken && carried <= self.sent.saturating_add(GREETINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel shows a new namespace with one interface, whose addresses it has made known.
    const NEW: &str = "Ip: Forwarding DefaultTTL InReceives ForwDatagrams OutRequests\nIp: 2 64 7 0 9\n\
                       Tcp: RtoAlgorithm ActiveOpens PassiveOpens AttemptFails\nTcp: 1 0 0 0\n\
                       Udp: InDatagrams NoPorts InErrors OutDatagrams\nUdp: 0 3 0 0\n";
    const NEW_6: &str =
        "Ip6InReceives\t4\nIp6OutRequests                  \t9\nUdp6OutDatagrams\t0\n";

    fn told(snmp: &str, snmp6: &str) -> Told {
        let proc = tempfile::tempdir().unwrap();
        let folder = proc.path().join("7/net");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("snmp"), snmp).unwrap();
        fs::write(folder.join("snmp6"), snmp6).unwrap();
        Told::of(proc.path(), 7).unwrap()
    }

    fn spoken(snmp: &str, snmp6: &str) -> bool {
        !told(snmp, snmp6).is_silent(0)
    }

    #[test]
    fn what_the_kernel_sends_itself_does_not_count() {
        assert!(!spoken(NEW, NEW_6));
        assert!(!spoken(NEW, ""));
    }

    #[test]
    fn who_speaks_past_the_namespaces_kernel_is_not_silent() {
        let new = told(NEW, NEW_6);
        assert_eq!(new.sent, 18);
        assert!(new.is_silent(18) && new.is_silent(18 + GREETINGS));
        assert!(!new.is_silent(19 + GREETINGS));
    }

    #[test]
    fn each_connection_and_datagram_counts() {
        let changes = [
            ("Tcp: 1 0 0 0", "Tcp: 1 1 0 0"),
            ("Tcp: 1 0 0 0", "Tcp: 1 0 2 0"),
            ("Udp: 0 3 0 0", "Udp: 1 3 0 0"),
            ("Udp: 0 3 0 0", "Udp: 0 3 0 12"),
            ("Ip: 2 64 7 0 9", "Ip: 2 64 7 5 9"),
        ];
        for (before, after) in changes {
            assert!(spoken(&NEW.replace(before, after), NEW_6), "{after}");
        }
        assert!(spoken(
            NEW,
            &NEW_6.replace("Udp6OutDatagrams\t0", "Udp6OutDatagrams\t1")
        ));
        assert!(spoken(NEW, "SctpActiveEstabs\t1\n"));
    }

    #[test]
    fn counters_that_cannot_be_read_prove_nothing() {
        let empty = tempfile::tempdir().unwrap();
        assert!(Told::of(empty.path(), 7).is_err());
        assert!(!sees_every_process(empty.path()));
        assert!(silent(empty.path(), &BTreeMap::from([(1, 0)])).is_empty());
    }
}
