//! Nodes over time: their addresses, those that their agents report, and the ranges that pods' addresses come from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::history::{self, History, Span, Validity};
use super::objects::{Node, ObjectKey};

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
            learned.update(&[], at);
        }
    }

    /// Takes in all addresses that a node has now.
    ///
    /// Loopback and link-local addresses are left out: they mean another thing on every node. A report of no address
    /// at all is none: every node has some.
    pub(super) fn learn(&mut self, node: &str, addresses: &[IpAddr], at: Timestamp) {
        let wide = |address: &&IpAddr| !is_local(**address) && !address.is_unspecified();
        let addresses: Vec<IpAddr> = addresses.iter().filter(wide).copied().collect();
        if addresses.is_empty() {
            return;
        }
        for address in &addresses {
            let names = self.by_address.entry(*address).or_default();
            names.insert(node.to_owned());
        }
        let learned = self.learned.entry(node.to_owned()).or_default();
        learned.update(&addresses, at);
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
        listed.chain(learned).collect()
    }

    /// The nodes that had an address within the span.
    pub(super) fn owners(&self, address: IpAddr, span: Option<Span>) -> BTreeSet<&str> {
        let names = self.by_address.get(&address).into_iter().flatten();
        let had = |name: &&String| {
            let object = self.objects.get(*name);
            let mut objects = object.into_iter().flat_map(|history| history.during(span));
            let learned = self.learned.get(*name);
            objects.any(|node| node.addresses.contains(&address))
                || learned.is_some_and(|learned| learned.had(address, span))
        };
        names.filter(had).map(String::as_str).collect()
    }

    /// Whether an address lies within a range that a node gives its pods addresses from.
    pub(super) fn gives_pods(&self, address: IpAddr) -> bool {
        let mut nodes = self.objects.values().flat_map(History::all);
        nodes.any(|node| node.pod_cidrs.iter().any(|cidr| cidr.contains(&address)))
    }

    /// Forgets what ended by `before`.
    pub(super) fn prune(&mut self, before: Timestamp) {
        self.objects.retain(|_, history| history.prune(before));
        self.learned.retain(|_, learned| learned.prune(before));
        let (objects, learned) = (&self.objects, &self.learned);
        self.by_address.retain(|_, names| {
            names.retain(|name| objects.contains_key(name) || learned.contains_key(name));
            !names.is_empty()
        });
    }
}

impl Learned {
    /// Addresses of the first report have been there for who knows how long; later ones may have come at any time
    /// since the report before.
    fn update(&mut self, addresses: &[IpAddr], at: Timestamp) {
        for (address, validity) in &mut self.addresses {
            if !addresses.contains(address) {
                validity.to.get_or_insert(at);
            }
        }
        let present: BTreeSet<IpAddr> = self.current().collect();
        let from = self.reported;
        let new = addresses
            .iter()
            .filter(|address| !present.contains(address));
        self.addresses
            .extend(new.map(|address| (*address, Validity { from, to: None })));
        self.reported = Some(at);
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
