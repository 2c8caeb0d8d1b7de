//! UDP: whoever sent the first datagram is the client, and a reply never makes an edge.

use indexmap::IndexMap;
use jiff::Timestamp;
use netpol_common::words::{Outcome, Protocol};

use super::edge::{Edge, Socket, Tuple};
use super::tally::{Cell, Each};

/// What is known of each edge.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    edges: IndexMap<Edge, Exchange>,
}

#[derive(Debug, Default)]
struct Exchange {
    replied: bool,
    /// The client's port, as long as it used one only.
    client_port: Option<u16>,
    /// Datagrams of edges that were replied to.
    established: Cell,
    /// Datagrams that wait for a reply.
    waiting: Cell,
    refused: Cell,
}

impl Datagrams {
    /// A datagram of which the input does not tell whether it is a reply: a known edge in either orientation wins.
    pub(super) fn pass(
        &mut self,
        from: &Socket,
        to: &Socket,
        at: Option<Timestamp>,
        each: Each<'_>,
    ) {
        let request = Tuple::new(from, to, Protocol::Udp);
        let reply = Tuple::new(to, from, Protocol::Udp);
        let answers =
            !self.edges.contains_key(&request.edge) && self.edges.contains_key(&reply.edge);
        match answers {
            true => self.reply(&reply, at, each),
            false => self.request(&request, at, each),
        }
    }

    /// The client sent a datagram.
    pub(super) fn request(&mut self, tuple: &Tuple, at: Option<Timestamp>, each: Each<'_>) {
        self.begin_hour(&tuple.edge, at, each);
        let exchange = self.exchange(tuple);
        if exchange.client_port != Some(tuple.client_port) {
            exchange.client_port = None;
        }
        match exchange.replied {
            true => exchange.established.add(1, at),
            false => exchange.waiting.add(1, at),
        }
    }

    /// The server sent a datagram: those that waited for it are answered.
    pub(super) fn reply(&mut self, tuple: &Tuple, at: Option<Timestamp>, each: Each<'_>) {
        self.begin_hour(&tuple.edge, at, each);
        let exchange = self.exchange(tuple);
        exchange.replied = true;
        exchange.established.absorb(&mut exchange.waiting);
        if exchange.established.is_empty() {
            exchange.established.add(1, at);
        }
    }

    /// A datagram of the client was refused.
    pub(super) fn refuse(&mut self, tuple: &Tuple, at: Option<Timestamp>, each: Each<'_>) {
        self.begin_hour(&tuple.edge, at, each);
        let exchange = self.exchange(tuple);
        exchange.waiting.take_one();
        exchange.refused.add(1, at);
    }

    /// Whether the edge was seen.
    pub(super) fn knows(&self, edge: &Edge) -> bool {
        self.edges.contains_key(edge)
    }

    /// Sends everything on its way.
    pub(super) fn finish(&mut self, each: Each<'_>) {
        self.edges.sort_keys();
        for index in 0..self.edges.len() {
            self.flush(index, each);
        }
    }

    fn exchange(&mut self, tuple: &Tuple) -> &mut Exchange {
        self.edges
            .entry(tuple.edge.clone())
            .or_insert_with(|| Exchange {
                client_port: Some(tuple.client_port),
                ..Exchange::default()
            })
    }

    /// Sends on what is held of another hour.
    fn begin_hour(&mut self, edge: &Edge, at: Option<Timestamp>, each: Each<'_>) {
        let Some((index, _, exchange)) = self.edges.get_full(edge) else {
            return;
        };
        if !exchange.cells().iter().all(|(_, cell)| cell.holds(at)) {
            self.flush(index, each);
        }
    }

    fn flush(&mut self, index: usize, each: Each<'_>) {
        let turned = self.turned(index);
        if let Some((edge, exchange)) = self.edges.get_index_mut(index) {
            match turned {
                Some(turned) => exchange.flush_turned(&turned, each),
                None => exchange.flush(edge, each),
            }
        }
    }

    /// The edge that this one is a piece of, seen backwards: where a capture begins in the middle of an exchange, the
    /// server may be seen first. The way round is known once the client addressed the same port from elsewhere.
    fn turned(&self, index: usize) -> Option<Edge> {
        let (edge, exchange) = self.edges.get_index(index)?;
        let client_port = exchange.client_port?;
        let turned = Edge {
            client: edge.server.clone(),
            server: edge.client.clone(),
            protocol: Protocol::Udp,
            port: client_port,
        };
        let known = self
            .edges
            .get(&turned)
            .is_some_and(|known| known.replied && known.client_port.is_none());
        (known && turned != *edge).then_some(turned)
    }
}

impl Exchange {
    fn cells(&self) -> [(Outcome, &Cell); 3] {
        [
            (Outcome::Established, &self.established),
            (Outcome::Refused, &self.refused),
            (Outcome::OneWay, &self.waiting),
        ]
    }

    fn flush(&mut self, edge: &Edge, each: Each<'_>) {
        self.established.flush(edge, Outcome::Established, each);
        self.refused.flush(edge, Outcome::Refused, each);
        self.waiting.flush(edge, Outcome::OneWay, each);
    }

    /// As datagrams of the edge the other way round, all of which belong to answered exchanges.
    fn flush_turned(&mut self, turned: &Edge, each: Each<'_>) {
        self.established.absorb(&mut self.waiting);
        self.established.flush(turned, Outcome::Established, each);
        self.refused = Cell::default();
    }
}
