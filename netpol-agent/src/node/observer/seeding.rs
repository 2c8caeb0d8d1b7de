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

    /// Takes note of every edge that has an open connection.
    pub(super) fn note_open_connections(&mut self) {
        let living = self
            .books
            .interfaces
            .iter()
            .filter(|interface| !interface.is_dead());
        let handles: Vec<u32> = living.map(|interface| interface.handle).collect();
        let now = kernel_now();
        let open = self.open_connections(&handles).into_iter();
        for (key, _) in open.filter(|(_, connections)| *connections > 0) {
            if let Err(error) = self.books.open(&key, now, &self.journal) {
                return warn!(node = self.name(), "{error}");
            }
        }
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
