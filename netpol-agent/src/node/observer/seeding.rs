//! Connections that the kernel program did not see opening, and those that stay open.

use std::collections::BTreeMap;

use netpol_common::words::Protocol;
use tracing::{debug, warn};

use super::Observer;
use crate::kernel::MapKind;
use crate::node::account::Carries;
use crate::node::clock::kernel_now;
use crate::node::interfaces::kernel_key;
use crate::node::seed::{OpenConnection, Watched, still_open};
use crate::observe::ObservedKey;

/// In how many looks every interface's open connections are looked for, and how many interfaces there are in one at least.
/// Reading a pod's table of connections takes the kernel as long as the machine's table is large.
const LOOKS: usize = 8;
const FEWEST: usize = 10;

impl Observer {
    /// Counts the connections that were open `before` the programs were attached to these interfaces, and those open
    /// now that the programs did not see: their handshake fell into the attaching.
    pub(super) fn seed(&mut self, handles: &[u32], before: &[(ObservedKey, u64)]) {
        let handles: Vec<u32> = handles
            .iter()
            .copied()
            .filter(|handle| self.can_be_seeded(*handle))
            .collect();
        if handles.is_empty() {
            return;
        }
        let after = self.open_connections(&handles);
        self.tell_directions(&after);
        // After the look, so that what it found and the program counted is known to be counted.
        if let Err(error) = self.walk() {
            return warn!(
                node = self.name(),
                "cannot look for older connections: {error}"
            );
        }
        let unseen = after.into_iter().filter(|(key, _)| !self.is_counted(key));
        let mut seeds: BTreeMap<ObservedKey, u64> = unseen.collect();
        seeds.extend(
            before
                .iter()
                .filter(|(key, _)| handles.contains(&key.interface))
                .cloned(),
        );
        seeds.retain(|_, connections| *connections > 0);
        let now = kernel_now();
        debug!(node = self.name(), edges = seeds.len(), "older connections");
        for (key, connections) in seeds {
            self.books.seeds.add(key, connections, now);
        }
        handles
            .into_iter()
            .for_each(|handle| self.keep_seeds(handle));
    }

    /// Tells the kernel program who is the client of datagram conversations under way. It takes whoever it sees first
    /// for the client, which may be a server that is replying.
    pub(super) fn tell_directions(&self, open: &[(ObservedKey, u64)]) {
        let datagrams = open.iter().filter(|(key, _)| key.protocol == Protocol::Udp);
        for (key, _) in datagrams {
            let told = self
                .kernel
                .insert(MapKind::Edges, &kernel_key(key), kernel_now());
            if let Err(error) = told {
                return warn!(
                    node = self.name(),
                    "cannot tell who is the client of a conversation under way: {error}"
                );
            }
        }
    }

    /// Takes note of every edge that has an open connection, of some interfaces in turn.
    pub(super) fn note_open_connections(&mut self) {
        let handles = self.next_to_be_asked();
        self.asked_last = handles.last().copied().unwrap_or(0);
        let now = kernel_now();
        let open = self.open_connections(&handles).into_iter();
        for (key, _) in open.filter(|(_, connections)| *connections > 0) {
            if let Err(error) = self.books.open(&key, now, &self.journal) {
                return warn!(node = self.name(), "{error}");
            }
        }
    }

    /// The interfaces of pods whose open connections are looked for next: those that were not for the longest time.
    fn next_to_be_asked(&self) -> Vec<u32> {
        let pods = self.books.interfaces.iter();
        let pods = pods.filter(|interface| !interface.is_dead() && interface.bound.is_some());
        let handles: Vec<u32> = pods.map(|interface| interface.handle).collect();
        in_turn(handles, self.asked_last)
    }

    /// The open connections of these interfaces, with their numbers; of those that are not bound, none.
    pub(super) fn open_connections(&self, handles: &[u32]) -> Vec<(ObservedKey, u64)> {
        let by_ifindex: BTreeMap<u32, u32> = handles
            .iter()
            .filter_map(|handle| Some((self.books.interfaces.get(*handle)?.ifindex, *handle)))
            .collect();
        let watched: Vec<Watched> = handles
            .iter()
            .filter_map(|handle| self.watched(*handle))
            .collect();
        if watched.is_empty() {
            return Vec::new();
        }
        let open = still_open(&self.options.bind.proc, &watched);
        open.into_iter()
            .filter_map(|connection| {
                let handle = by_ifindex.get(&connection.ifindex)?;
                Some((key(*handle, &connection), connection.connections))
            })
            .collect()
    }

    fn watched(&self, handle: u32) -> Option<Watched> {
        let interface = self.books.interfaces.get(handle)?;
        let bound = interface.bound.as_ref()?;
        Some(Watched {
            ifindex: interface.ifindex,
            addresses: bound.addresses.clone(),
            netnsid: self
                .links
                .get(&interface.ifindex)
                .and_then(|link| link.netnsid),
        })
    }

    fn can_be_seeded(&self, handle: u32) -> bool {
        let interface = self.books.interfaces.get(handle);
        interface.is_some_and(|interface| {
            let bound = interface.bound.as_ref();
            bound.is_some_and(|bound| !bound.addresses.is_empty()) && !interface.is_dead()
        })
    }

    /// Whether the kernel program counted an answer of this edge.
    fn is_counted(&self, key: &ObservedKey) -> bool {
        let key = kernel_key(key);
        let totals = self
            .books
            .account
            .get(&key)
            .and_then(|entry| entry.totals());
        let carried = || {
            self.journal
                .carried(MapKind::Edges, &key)
                .ok()
                .flatten()
                .is_some_and(|cell| cell.total().answered > 0)
        };
        totals.is_some_and(|totals| totals.counts.answered > 0) || carried()
    }

    fn keep_seeds(&mut self, handle: u32) {
        if let Some(interface) = self.books.interfaces.get_mut(handle) {
            interface.seeded = true;
        }
        let Some(interface) = self.books.interfaces.get(handle) else {
            return;
        };
        let seeds = self.books.seeds.of_interface(handle);
        if let Err(error) = self.journal.put_seeds(interface, seeds) {
            warn!(node = self.options.node.name, "{error}");
        }
    }
}

fn key(handle: u32, connection: &OpenConnection) -> ObservedKey {
    ObservedKey {
        interface: handle,
        source: connection.source,
        direction: connection.direction,
        protocol: connection.protocol,
        port: connection.port,
        local: connection.local,
        remote: connection.remote,
    }
}

/// The next of these sorted handles after `last`, and from the first on again.
fn in_turn(mut handles: Vec<u32>, last: u32) -> Vec<u32> {
    let most = handles.len().div_ceil(LOOKS).max(FEWEST);
    let next = handles.partition_point(|handle| *handle <= last);
    handles.rotate_left(next);
    handles.truncate(most);
    handles
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_interface_has_its_turn_within_the_looks() {
        for count in [0, 1, 10, 11, 80, 110, 250] {
            let all: Vec<u32> = (0..count).map(|number| 3 + 2 * number).collect();
            let (mut last, mut asked) = (4, BTreeSet::new());
            for _ in 0..LOOKS {
                let handles = in_turn(all.clone(), last);
                assert!(handles.len() <= FEWEST.max(all.len().div_ceil(LOOKS)));
                last = handles.last().copied().unwrap_or(0);
                asked.extend(handles);
            }
            assert_eq!(asked.into_iter().collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn a_few_interfaces_are_all_looked_at_every_time() {
        assert_eq!(in_turn(vec![1, 2, 5], 2), [5, 1, 2]);
        assert_eq!(in_turn(vec![1, 2, 5], 9), [1, 2, 5]);
    }
}
