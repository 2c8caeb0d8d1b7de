//! Which pod each interface belongs to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use netpol_common::abi::Direction;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Observer;
use super::attaching::Age;
use crate::node::bind::{Binding, Facts, decide};
use crate::node::interfaces::{Bound, Interface, observed};
use crate::node::links::Link;

/// The pause after the first try to bind an interface; doubled after each try in vain.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Observer {
    /// Looks at the bindings again at the latest in `pause`.
    pub(super) fn bind_soon(&mut self, pause: Duration) {
        let at = Instant::now() + pause;
        self.bind_at = Some(self.bind_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Looks at the bindings now, and again in short intervals while something is unbound.
    pub(super) fn bind_from_start(&mut self) {
        self.bind_pause = FIRST_PAUSE;
        self.bind_all();
    }

    /// Looks at the bindings as planned: the index has changed, or something is unbound still.
    pub(super) fn bind(&mut self) {
        let index = self.index.read();
        let pods: Vec<_> = index.pods_on(&self.options.node.name).cloned().collect();
        drop(index);
        if pods != self.pods {
            self.pods = pods;
            self.bind_pause = FIRST_PAUSE;
        }
        self.bind_all();
    }

    fn bind_all(&mut self) {
        if self.pods.is_empty() {
            let index = self.index.read();
            self.pods = index.pods_on(&self.options.node.name).cloned().collect();
        }
        let links: Vec<Link> = self
            .links
            .values()
            .filter(|link| link.may_be_pods())
            .cloned()
            .collect();
        let bindings = self.binder.bind(&links, &self.pods, &self.first_sources());
        for (ifindex, binding) in bindings {
            self.bound(ifindex, binding);
        }
        self.bind_dead();
        self.plan_next();
    }

    /// Tries again what has waited for its first packet.
    pub(super) fn bind_parked(&mut self) {
        let parked = self.books.interfaces.iter().any(|interface| {
            let waiting = interface.bound.is_none() && !interface.is_dead();
            waiting && self.first_source(interface.handle).is_some()
        });
        if parked && self.bind_pause > Duration::from_secs(5) {
            self.bind_soon(Duration::ZERO);
        }
    }

    /// Takes in what ties an interface to a pod.
    fn bound(&mut self, ifindex: u32, binding: Binding) {
        let Some(handle) = self
            .books
            .interfaces
            .at(ifindex)
            .map(|interface| interface.handle)
        else {
            if self.set_aside.contains(&ifindex) {
                self.observe(&[ifindex], Age::Older);
            }
            return;
        };
        self.tie(handle, binding);
    }

    fn tie(&mut self, handle: u32, binding: Binding) {
        let Some(interface) = self.books.interfaces.get_mut(handle) else {
            return;
        };
        let Some(bound) = better(interface.bound.as_ref(), binding) else {
            return;
        };
        let pod = bound.pod.clone();
        let fresh = interface.bound.as_ref().is_none_or(|old| old.pod != pod);
        if !interface.bind(bound) {
            return;
        }
        let evidence = interface.bound.as_ref().map(|bound| bound.evidence);
        let (name, seeded) = (interface.name.clone(), interface.seeded);
        if fresh {
            let node = self.name();
            let pod = format!("{}/{}", pod.name.namespace, pod.name.name);
            info!(node, interface = name, pod, ?evidence, "bound");
        }
        self.keep_interface(handle);
        if !seeded && self.is_attached(handle) {
            self.seed(&[handle], &[]);
        }
    }

    /// Interfaces that are gone can still be told by the addresses that their pod used.
    fn bind_dead(&mut self) {
        let unbound = |interface: &&Interface| interface.bound.is_none() && interface.is_dead();
        let dead: Vec<_> = self
            .books
            .interfaces
            .iter()
            .filter(unbound)
            .cloned()
            .collect();
        for interface in dead {
            let Some(source) = self.first_source(interface.handle) else {
                continue;
            };
            let link = Link {
                ifindex: interface.ifindex,
                name: interface.name.clone(),
                is_veth: true,
                ..Link::default()
            };
            let facts = Facts {
                sources: BTreeMap::from([(interface.ifindex, source)]),
                ..Facts::default()
            };
            for binding in decide(&[link], &self.pods, &facts).into_values() {
                self.tie(interface.handle, binding);
            }
        }
    }

    /// Plans the next look if something is unbound.
    fn plan_next(&mut self) {
        let mut living = self
            .books
            .interfaces
            .iter()
            .filter(|interface| !interface.is_dead());
        let unbound = living.any(|interface| {
            interface
                .bound
                .as_ref()
                .is_none_or(|bound| bound.evidence.is_provisional())
        });
        self.bind_at =
            (unbound || !self.set_aside.is_empty()).then(|| Instant::now() + self.bind_pause);
        self.bind_pause = (self.bind_pause * 2).min(LONGEST_PAUSE);
    }

    /// The first source address on each living interface that is not bound for good.
    fn first_sources(&self) -> BTreeMap<u32, IpAddr> {
        let living = self
            .books
            .interfaces
            .iter()
            .filter(|interface| !interface.is_dead());
        let open = living.filter(|interface| {
            interface
                .bound
                .as_ref()
                .is_none_or(|bound| bound.evidence.is_provisional())
        });
        open.filter_map(|interface| Some((interface.ifindex, self.first_source(interface.handle)?)))
            .collect()
    }

    /// The source address of the oldest edge of a client on the interface.
    fn first_source(&self, handle: u32) -> Option<IpAddr> {
        let edges = self.books.account.of_interface(handle);
        let clients = edges.filter(|(key, _)| key.direction == Direction::Egress as u8);
        let oldest =
            clients.min_by_key(|(_, entry)| entry.totals().map(|totals| totals.first_seen));
        oldest
            .and_then(|(key, _)| observed(key))
            .map(|key| key.local)
    }

    pub(super) fn is_attached(&self, handle: u32) -> bool {
        self.attacher
            .attached()
            .iter()
            .any(|(_, attached)| *attached == handle)
    }
}

/// What to make of a new binding: an interface changes its pod only for stronger evidence, and a pod keeps the
/// addresses that it was once known to have.
fn better(old: Option<&Bound>, new: Binding) -> Option<Bound> {
    let mut bound = Bound {
        pod: new.pod,
        addresses: new.addresses,
        evidence: new.evidence,
    };
    let Some(old) = old else {
        return Some(bound);
    };
    if old.pod == bound.pod {
        bound.addresses.extend(&old.addresses);
        bound.addresses.sort_unstable();
        bound.addresses.dedup();
        bound.evidence = bound.evidence.min(old.evidence);
        return Some(bound);
    }
    let stronger = bound.evidence < old.evidence;
    if !stronger {
        warn!(old = ?old, new = ?bound, "two pods seem to be behind one interface; it stays with the first");
    }
    stronger.then_some(bound)
}
