//! Whether anybody in a network namespace has spoken yet, by the namespace's own counters.
//!
//! The kernel itself greets its neighbours on every new interface, so that packets on it do not mean that the pod has sent
//! any. Connections and datagrams are counted by namespace in `/proc/<pid>/net/{snmp,snmp6,sctp/snmp}`
//! (`Documentation/networking/snmp_counter.rst`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::netns::Numbers;
use super::processes::{self, Inhabitants};

/// The number of the process namespace in which a system starts: `PROC_PID_INIT_INO` (`linux/proc_ns.h`).
const FIRST_PROCESSES: &str = "pid:[4026531836]";
/// Counters of `snmp`: its lines come in pairs, names and then values.
const IN_PAIRS: &[(&str, &[&str])] = &[
    ("Ip", &["ForwDatagrams"]),
    ("Tcp", &["ActiveOpens", "PassiveOpens"]),
    ("Udp", &["InDatagrams", "OutDatagrams"]),
    ("UdpLite", &["InDatagrams", "OutDatagrams"]),
];
/// Counters of `snmp6` and of `sctp/snmp`, one a line.
const ONE_A_LINE: &[&str] = &[
    "Ip6OutForwDatagrams",
    "Udp6InDatagrams",
    "Udp6OutDatagrams",
    "UdpLite6InDatagrams",
    "UdpLite6OutDatagrams",
    "SctpActiveEstabs",
    "SctpPassiveEstabs",
];

/// Which of these network namespaces are silent so far: nobody in them has made a connection, taken one, or exchanged a
/// datagram. Those of which that is not known are left out.
///
/// A namespace without a process is silent, but only whoever sees every process of the system knows that it has none.
#[must_use]
pub fn silent(proc: &Path, namespaces: &BTreeSet<i32>) -> BTreeSet<i32> {
    let found = Numbers::open()
        .ok()
        .and_then(|numbers| processes::inhabitants(proc, &numbers).ok());
    let Some(Inhabitants { oldest, .. }) = found else {
        return BTreeSet::new();
    };
    let sees_all = sees_every_process(proc);
    let is_silent = |namespace: &&i32| match oldest.get(namespace) {
        Some(process) => !has_spoken(proc, *process).unwrap_or(true),
        None => sees_all,
    };
    namespaces.iter().filter(is_silent).copied().collect()
}

fn sees_every_process(proc: &Path) -> bool {
    let own = fs::read_link(proc.join("self/ns/pid"));
    own.is_ok_and(|own| own.as_os_str() == FIRST_PROCESSES)
}

/// Whether the network namespace of a process has seen a connection or a datagram.
fn has_spoken(proc: &Path, process: u32) -> io::Result<bool> {
    let folder = proc.join(process.to_string()).join("net");
    let pairs = fs::read_to_string(folder.join("snmp"))?;
    // Without a protocol there is no file of its counters.
    let lines = ["snmp6", "sctp/snmp"].map(|name| fs::read_to_string(folder.join(name)));
    let lines = lines.map(Result::unwrap_or_default).concat();
    Ok(counts_in_pairs(&pairs) || counts_in_lines(&lines))
}

fn counts_in_pairs(text: &str) -> bool {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let Some((protocol, names)) = names.split_once(':') else {
            continue;
        };
        let wanted = IN_PAIRS.iter().find(|(name, _)| *name == protocol);
        let wanted = wanted.map_or(&[][..], |(_, counters)| *counters);
        let values = values.split_ascii_whitespace().skip(1);
        let mut pairs = names.split_ascii_whitespace().zip(values);
        if pairs.any(|(name, value)| wanted.contains(&name) && value != "0") {
            return true;
        }
    }
    false
}

fn counts_in_lines(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        ONE_A_LINE.contains(&name) && words.next() != Some("0")
    })
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

    fn spoken(snmp: &str, snmp6: &str) -> bool {
        let proc = tempfile::tempdir().unwrap();
        let folder = proc.path().join("7/net");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("snmp"), snmp).unwrap();
        fs::write(folder.join("snmp6"), snmp6).unwrap();
        has_spoken(proc.path(), 7).unwrap()
    }

    #[test]
    fn what_the_kernel_sends_itself_does_not_count() {
        assert!(!spoken(NEW, NEW_6));
        assert!(!spoken(NEW, ""));
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
        assert!(has_spoken(empty.path(), 7).is_err());
        assert!(!sees_every_process(empty.path()));
        assert!(silent(empty.path(), &BTreeSet::from([1])).is_empty());
    }

    #[test]
    fn a_namespace_speaks_with_its_first_connection() {
        let own = std::process::id();
        let proc = Path::new("/proc");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(has_spoken(proc, own).unwrap());
    }
}
