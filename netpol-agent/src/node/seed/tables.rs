//! The socket tables of a network namespace, as `/proc/<pid>/net/{tcp,tcp6,udp,udp6}` show them.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use procfs::process::Process;

/// The most bytes that are read of one table: over 100,000 sockets.
const LARGEST: u64 = 16 << 20;
/// `TCP_ESTABLISHED`, which connected UDP sockets are in too, and `TCP_LISTEN` (`net/tcp_states.h`).
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// What the tables say of one network namespace. IPv4-mapped addresses are shown as IPv4.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sockets {
    /// Established TCP connections, as (local, remote).
    pub established: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Where TCP connections are awaited.
    pub listening: BTreeSet<SocketAddr>,
    /// Where UDP sockets are bound, connected or not.
    pub datagram: BTreeSet<SocketAddr>,
    /// Those of them that are not connected: they take datagrams from anybody, as servers do.
    pub awaiting: BTreeSet<SocketAddr>,
    /// UDP sockets that are connected, as (local, remote).
    pub conversing: BTreeSet<(SocketAddr, SocketAddr)>,
}

/// One line of a table.
struct Line {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
}

impl Sockets {
    /// The tables of the network namespace that `process` lives in.
    ///
    /// For a table of TCP the kernel looks at the connections of the whole machine, which takes milliseconds. It is not
    /// asked for one where the namespace's own count says that no connection is established.
    ///
    /// # Errors
    ///
    /// If the process has ended, or its tables cannot be read. A table of a family that the kernel lacks is empty.
    pub fn of_process(proc: &Path, process: u32) -> io::Result<Self> {
        let process = Process::new_with_root(proc.join(process.to_string()));
        let process = process.map_err(io::Error::other)?;
        let open = |name: &str| process.open_relative(format!("net/{name}")).ok();
        let tcp = open("tcp").ok_or(io::ErrorKind::NotFound)?;
        let mut sockets = Self::default();
        let counted = open("snmp").and_then(|table| io::read_to_string(table).ok());
        if counted.and_then(|text| established(&text)) != Some(0) {
            for table in [Some(tcp), open("tcp6")].into_iter().flatten() {
                sockets.read_tcp(table)?;
            }
        }
        for table in [open("udp"), open("udp6")].into_iter().flatten() {
            sockets.read_udp(table)?;
        }
        Ok(sockets)
    }

    /// Whether a TCP socket is listening where `address` is. A wildcard listens on both families.
    #[must_use]
    pub fn listens_on(&self, address: SocketAddr) -> bool {
        covers(&self.listening, address)
    }

    /// Whether a UDP socket is bound where `address` is.
    #[must_use]
    pub fn has_datagram_socket(&self, address: SocketAddr) -> bool {
        covers(&self.datagram, address)
    }

    /// Whether a UDP socket takes datagrams from anybody where `address` is.
    #[must_use]
    pub fn awaits_at(&self, address: SocketAddr) -> bool {
        covers(&self.awaiting, address)
    }

    fn read_tcp(&mut self, table: impl Read) -> io::Result<()> {
        each_line(table, |line| match line.state {
            ESTABLISHED => {
                self.established.insert((line.local, line.remote));
            }
            LISTEN => {
                self.listening.insert(line.local);
            }
            _ => {}
        })
    }

    fn read_udp(&mut self, table: impl Read) -> io::Result<()> {
        each_line(table, |line| {
            self.datagram.insert(line.local);
            if line.state == ESTABLISHED {
                self.conversing.insert((line.local, line.remote));
            } else {
                self.awaiting.insert(line.local);
            }
        })
    }
}

/// How many TCP connections of both families are established, by `/proc/<pid>/net/snmp` (`CurrEstab` of RFC 4022).
fn established(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let names = names.split_ascii_whitespace();
    let mut counts = names.zip(values.split_ascii_whitespace());
    let (_, count) = counts.find(|(name, _)| *name == "CurrEstab")?;
    count.parse().ok()
}

fn covers(sockets: &BTreeSet<SocketAddr>, address: SocketAddr) -> bool {
    let port = address.port();
    let wildcards = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let mut places = wildcards.into_iter().chain([address.ip().to_canonical()]);
    places.any(|ip| sockets.contains(&SocketAddr::new(ip, port)))
}

/// Lines that are none of a table, such as its heading, are passed over.
fn each_line(table: impl Read, mut take: impl FnMut(Line)) -> io::Result<()> {
    let mut table = BufReader::new(table.take(LARGEST));
    let mut bytes = Vec::new();
    while table.read_until(b'\n', &mut bytes)? > 0 {
        if let Some(line) = std::str::from_utf8(&bytes).ok().and_then(line) {
            take(line);
        }
        bytes.clear();
    }
    Ok(())
}

/// `sl: local remote state …`, numbers in hexadecimal (`Documentation/networking/proc_net_tcp.rst`).
fn line(text: &str) -> Option<Line> {
    let mut words = text.split_ascii_whitespace().skip(1);
    Some(Line {
        local: socket_address(words.next()?)?,
        remote: socket_address(words.next()?)?,
        state: u8::from_str_radix(words.next()?, 16).ok()?,
    })
}

fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = match ip.len() {
        8 => IpAddr::from(word(ip)?),
        32 => {
            let mut octets = [0; 16];
            for (at, octets) in octets.chunks_exact_mut(4).enumerate() {
                octets.copy_from_slice(&word(ip.get(at * 8..at * 8 + 8)?)?);
            }
            IpAddr::from(octets)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// Addresses are shown as numbers of 32 bits in the machine's byte order.
fn word(text: &str) -> Option<[u8; 4]> {
    u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1001 1 0000000000000000 100 0 0 10 0
   1: 0500010A:9C40 0900600A:0050 01 00000000:00000000 02:000006D3 00000000     0        0 1002 2 0000000000000000 20 4 30 10 -1
   2: 0500010A:9C41 0900600A:0050 02 00000001:00000000 01:00000010 00000001     0        0 1003 2 0000000000000000 200 4 0 1 7
   3: 0500010A:9C42 0900600A:0050 06 00000000:00000000 03:00000B2F 00000000     0        0 0 3 0000000000000000
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1004 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000500010A:1F90 0000000000000000FFFF00000700010A:A000 01 00000000:00000000 00:00000000 00000000     0        0 1005 1 0000000000000000 20 4 0 10 -1
   2: 000000FD000000000000000005000000:1F90 000000FD000000000000000007000000:A001 01 00000000:00000000 00:00000000 00000000     0        0 1006 1 0000000000000000 20 4 0 10 -1
";

    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoAlgorithm MaxConn CurrEstab InSegs\nTcp: 1 -1 0 17\n\
                        Udp: InDatagrams NoPorts\nUdp: 3 0\n";

    fn sockets(tcp: &[&str], udp: &[&str]) -> Sockets {
        let mut sockets = Sockets::default();
        for table in tcp {
            sockets.read_tcp(table.as_bytes()).unwrap();
        }
        for table in udp {
            sockets.read_udp(table.as_bytes()).unwrap();
        }
        sockets
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn tables_are_read() {
        let read = sockets(&[TCP, TCP6], &[TCP]);
        let pairs = [
            ("10.1.0.5:40000", "10.96.0.9:80"),
            ("10.1.0.5:8080", "10.1.0.7:40960"),
            ("[fd00::5]:8080", "[fd00::7]:40961"),
        ];
        let expected = pairs.map(|(local, remote)| (address(local), address(remote)));
        assert_eq!(read.established, BTreeSet::from(expected));
        let listening = ["0.0.0.0:8080", "[::]:22"].map(address);
        assert_eq!(read.listening, BTreeSet::from(listening));
        assert_eq!(read.datagram.len(), 4);
        assert_eq!(read.awaiting.len(), 3);
        let [(local, remote)] = [("10.1.0.5:40000", "10.96.0.9:80")];
        let conversing = BTreeSet::from([(address(local), address(remote))]);
        assert_eq!(read.conversing, conversing);
        assert!(read.awaits_at(address("10.1.0.9:8080")));
        assert!(!read.awaits_at(address("10.1.0.5:40000")));
    }

    #[test]
    fn tables_of_tcp_are_read_unless_nothing_is_established() {
        let proc = tempfile::tempdir().unwrap();
        let folder = proc.path().join("30/net");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("tcp", TCP), ("tcp6", TCP6), ("udp", TCP)] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        for (snmp, expected) in [
            (SNMP.to_owned(), 0),
            (SNMP.replace(" 0 17", " 2 17"), 3),
            (SNMP.replace("CurrEstab", "Other"), 3),
            (String::new(), 3),
        ] {
            std::fs::write(folder.join("snmp"), &snmp).unwrap();
            let read = Sockets::of_process(proc.path(), 30).unwrap();
            assert_eq!(read.established.len(), expected, "{snmp}");
            assert_eq!(read.datagram.len(), 4, "{snmp}");
        }
        std::fs::remove_file(folder.join("snmp")).unwrap();
        let read = Sockets::of_process(proc.path(), 30).unwrap();
        assert_eq!(read.established.len(), 3);
    }

    #[test]
    fn wildcards_listen_on_every_address() {
        let mut read = sockets(&[TCP, TCP6], &[]);
        read.listening.insert(address("10.1.0.5:53"));
        for (place, expected) in [
            ("10.1.0.5:8080", true),
            ("[fd00::5]:8080", true),
            ("10.1.0.5:22", true),
            ("10.1.0.5:53", true),
            ("[::ffff:10.1.0.5]:53", true),
            ("10.1.0.6:53", false),
            ("10.1.0.5:40000", false),
        ] {
            assert_eq!(read.listens_on(address(place)), expected, "{place}");
        }
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let broken = "  9: 0500010A 0900600A:0050 01\n  9: 05:9C40 09:0050 01\n9: 0500010A:9C40\n\
                      9: 0500010A:9C40 0900600A:10050 01\n9: é500010A:9C40 0900600A:0050 01\n";
        assert_eq!(sockets(&[broken], &[broken]), Sockets::default());
        let cut = &TCP[..TCP.len() - 200];
        assert_eq!(sockets(&[cut], &[]).established.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut sockets = Sockets::default();
            prop_assert!(sockets.read_tcp(bytes.as_slice()).is_ok());
            prop_assert!(sockets.read_udp(bytes.as_slice()).is_ok());
        }

        #[test]
        fn any_address_is_read_as_it_is_shown(octets in any::<[u8; 16]>(), port in any::<u16>()) {
            let ip = Ipv6Addr::from(octets);
            let words = octets.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
            let shown: String = words.map(|word| format!("{word:08X}")).collect();
            let read = socket_address(&format!("{shown}:{port:04X}"));
            prop_assert_eq!(read, Some(SocketAddr::new(IpAddr::V6(ip).to_canonical(), port)));
        }
    }
}
