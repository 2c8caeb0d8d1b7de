//! Nodes over time: their addresses, those that their agents report, and the ranges that pods' addresses come from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::history::{self, History, Span, Validity};
use super::objects::{Node, ObjectKey};
use crate::observe::NODE_ADDRESSES;

/// Every node known, present or gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    objects: BTreeMap<String, History<Node>>,
    learned: BTreeMap<String, Learned>,
    by_address: BTreeMap<IpAddr, BTreeSet<String>>,
}

/// What the agent of a node reported.
#[derive(Clone, Debug, Default)]
struct Learned {
    reported: Option<Timestamp>,
    addresses: Vec<(IpAddr, Validity)>,
}

impl Nodes {
    /// Takes in a node.
    pub(super) fn apply(&mut self, node: Node, at: Timestamp) {
        for address in &node.addresses {
            let names = self.by_address.entry(*address).or_default();
            names.insert(node.name.clone());
        }
        match self.objects.get_mut(&node.name) {
            Some(history) => history.replace(node, at),
            None => {
                let from = node.created;
                self.objects
                    .insert(node.name.clone(), History::new(node, from));
            }
        }
    }

    /// The key of every node.
    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.objects.keys().cloned().map(ObjectKey::Node)
    }

    /// The present node of that name.
    pub(super) fn present_named(&self, name: &str) -> Option<&Node> {
        self.objects.get(name).and_then(History::current)
    }

    /// All that is known of a node's object.
    pub(super) fn history(&self, name: &str) -> Option<&History<Node>> {
        self.objects.get(name)
    }

    /// Takes back what an earlier process knew of a node's object.
    pub(super) fn restore(&mut self, known: History<Node>, gone: Option<Timestamp>) {
        for node in known.all() {
            for address in &node.addresses {
                let names = self.by_address.entry(*address).or_default();
                names.insert(node.name.clone());
            }
        }
        let name = known.all().last().map(|node| node.name.clone());
        history::restore(&mut self.objects, name, known, gone);
    }

    /// Ends a node, and what its agent reported.
    pub(super) fn delete(&mut self, name: &str, at: Timestamp) {
        if let Some(history) = self.objects.get_mut(name) {
            history.end(at);
        }
        if let Some(learned) = self.learned.get_mut(name) {
            learned.update(&BTreeSet::new(), at);
        }
    }

    /// Takes in all addresses that a node has now.
    ///
    /// Loopback and link-local addresses are left out: they mean another thing on every node. A report of no address
    /// at all is none: every node has some.
    pub(super) fn learn(&mut self, node: &str, addresses: &[IpAddr], at: Timestamp) {
        let wide = |address: &&IpAddr| !is_local(**address) && !address.is_unspecified();
        let addresses: BTreeSet<IpAddr> = addresses.iter().filter(wide).copied().collect();
        if addresses.is_empty() {
            return;
        }
        let learned = self.learned.entry(node.to_owned()).or_default();
        for address in learned.update(&addresses, at) {
            let names = self.by_address.entry(address).or_default();
            names.insert(node.to_owned());
        }
    }

    /// The present nodes.
    pub(super) fn present(&self) -> impl Iterator<Item = &Node> {
        self.objects.values().filter_map(History::current)
    }

    /// Every address that a node has now.
    pub(super) fn addresses(&self, name: &str) -> BTreeSet<IpAddr> {
        let object = self.objects.get(name).and_then(History::current);
        let listed = object.into_iter().flat_map(|node| node.addresses.clone());
        let learned = self.learned.get(name).into_iter();
        let learned = learned.flat_map(|learned| learned.current());
        let learned = learned.filter(|address| self.may_report(name, *address));
        listed.chain(learned).collect()
    }

    /// Whether any node had an address within the span.
    pub(super) fn have(&self, address: IpAddr, span: Option<Span>) -> bool {
        !self.listed(address, span).is_empty() || !self.reported(address, span).is_empty()
    }

    /// The nodes of whose objects an address was one within the span.
    pub(super) fn listed(&self, address: IpAddr, span: Option<Span>) -> BTreeSet<&str> {
        self.named(address, |name| {
            let object = self.objects.get(name);
            let mut objects = object.into_iter().flat_map(|history| history.during(span));
            objects.any(|node| node.addresses.contains(&address))
        })
    }

    /// The nodes whose agents said within the span that an address is their own. Whoever can speak as one node's agent
    /// must not change what is learned of others: what a node gives its pods is no other node's, and an address that
    /// is somebody's in the world is a node's only if its object says so.
    pub(super) fn reported(&self, address: IpAddr, span: Option<Span>) -> BTreeSet<&str> {
        let mut names = self.named(address, |name| {
            let learned = self.learned.get(name);
            learned.is_some_and(|learned| learned.had(address, span))
                && self.may_report(name, address)
        });
        if !names.is_empty() && self.gives_pods(address) {
            names.retain(|name| self.gives(name, address));
        }
        names
    }

    fn named(&self, address: IpAddr, had: impl Fn(&str) -> bool) -> BTreeSet<&str> {
        let names = self.by_address.get(&address).into_iter().flatten();
        names.map(String::as_str).filter(|name| had(name)).collect()
    }

    fn may_report(&self, name: &str, address: IpAddr) -> bool {
        is_private(address) || self.gives(name, address)
    }

    /// Whether an address lies within a range that this node gives its pods addresses from.
    fn gives(&self, name: &str, address: IpAddr) -> bool {
        let mut nodes = self.objects.get(name).into_iter().flat_map(History::all);
        nodes.any(|node| node.pod_cidrs.iter().any(|cidr| cidr.contains(&address)))
    }

    /// Whether an address lies within a range that a node gives its pods addresses from.
    pub(super) fn gives_pods(&self, address: IpAddr) -> bool {
        let mut nodes = self.objects.values().flat_map(History::all);
        nodes.any(|node| node.pod_cidrs.iter().any(|cidr| cidr.contains(&address)))
    }

    /// Forgets what ended by `before`, and tells of what nothing is left.
    pub(super) fn prune(&mut self, before: Timestamp) -> Vec<ObjectKey> {
        let forgotten = history::forget(&mut self.objects, before);
        let forgotten = forgotten.map(ObjectKey::Node).collect();
        self.learned.retain(|_, learned| learned.prune(before));
        let (objects, learned) = (&self.objects, &self.learned);
        self.by_address.retain(|_, names| {
            names.retain(|name| objects.contains_key(name) || learned.contains_key(name));
            !names.is_empty()
        });
        forgotten
    }
}

impl Learned {
    /// Addresses of the first report have been there for who knows how long; later ones may have come at any time
    /// since the report before. Tells which ones are new. There is an end to what is kept of one node.
    fn update(&mut self, addresses: &BTreeSet<IpAddr>, at: Timestamp) -> Vec<IpAddr> {
        for (address, validity) in &mut self.addresses {
            if !addresses.contains(address) {
                validity.to.get_or_insert(at);
            }
        }
        let present: BTreeSet<IpAddr> = self.current().collect();
        let from = self.reported;
        let room = NODE_ADDRESSES.saturating_sub(self.addresses.len());
        let new: Vec<IpAddr> = addresses.difference(&present).copied().take(room).collect();
        let claims = new
            .iter()
            .map(|address| (*address, Validity { from, to: None }));
        self.addresses.extend(claims);
        self.reported = Some(at);
        new
    }

    fn current(&self) -> impl Iterator<Item = IpAddr> {
        let open = |(_, validity): &&(IpAddr, Validity)| validity.to.is_none();
        self.addresses
            .iter()
            .filter(open)
            .map(|(address, _)| *address)
    }

    fn had(&self, address: IpAddr, span: Option<Span>) -> bool {
        let mut claims = self.addresses.iter();
        claims.any(|(other, validity)| *other == address && validity.meets(span))
    }

    fn prune(&mut self, before: Timestamp) -> bool {
        self.addresses
            .retain(|(_, validity)| validity.to.is_none_or(|to| to > before));
        !self.addresses.is_empty()
    }
}

/// Whether an address has a meaning only on one link or host: loopback and link-local.
pub(super) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

/// Whether an address is nobody's in particular in the world: of private networks (RFC 1918, RFC 4193), of what carriers
/// share (RFC 6598), for benchmarks (RFC 2544) and for documentation (RFC 5737, RFC 3849).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_documentation()
                || (first == 100 && second & 0xc0 == 64)
                || (first == 198 && second & 0xfe == 18)
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.segments()[..2] == [0x2001, 0xdb8]
        }
    }
}
