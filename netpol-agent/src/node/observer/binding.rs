//! Which pod each interface belongs to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use netpol_common::abi::Direction;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Observer;
use super::attaching::Age;
use crate::identity::objects::Pod;
use crate::node::bind::{Binding, Evidence, Facts, decide};
use crate::node::clock::kernel_now;
use crate::node::interfaces::{Bound, Interface, observed};
use crate::node::links::Link;
use crate::observe::PodIdentity;

/// The pause after the first try to bind an interface; doubled after each try in vain.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For how long a pod is not taken to be behind a second interface, in nanoseconds.
const FORMER: u64 = 60_000_000_000;

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
        self.bind_at = None;
        let index = self.index.read();
        let changed = !index.pods_on(&self.options.node.name).eq(&self.pods);
        drop(index);
        if changed {
            self.bind_pause = FIRST_PAUSE;
        }
        if changed || self.is_any_open() {
            self.bind_all();
        }
    }

    fn bind_all(&mut self) {
        let index = self.index.read();
        self.pods = index.pods_on(&self.options.node.name).cloned().collect();
        drop(index);
        let links = self.links.values().filter(|link| link.may_be_pods());
        let links: Vec<Link> = links.cloned().collect();
        let bindings = self.binder.bind(&links, &self.pods, &self.first_sources());
        for (ifindex, binding) in bindings {
            self.bound(ifindex, binding);
        }
        self.bind_dead();
        self.plan_next();
        self.is_news = true;
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
        if self.is_elsewhere(handle, &binding) {
            return;
        }
        let Some(interface) = self.books.interfaces.get_mut(handle) else {
            return;
        };
        let old = interface.bound.as_ref();
        let known = old.is_some_and(|old| self.pods.iter().any(|pod| is(pod, &old.pod)));
        let Some(bound) = better(old, known, binding) else {
            return;
        };
        let (pod, evidence) = (bound.pod.clone(), bound.evidence);
        let fresh = interface.bound.as_ref().is_none_or(|old| old.pod != pod);
        if !interface.bind(bound) {
            return;
        }
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

    /// Whether the pod has, or had a moment ago, another interface, and only its address speaks for this one: then
    /// another pod has got the address, and the index does not know yet.
    fn is_elsewhere(&self, handle: u32, binding: &Binding) -> bool {
        let now = kernel_now();
        let others = self
            .books
            .interfaces
            .iter()
            .filter(|other| other.handle != handle);
        let bound = others.filter_map(|other| Some((&other.bound.as_ref()?.pod, other.dead_since)));
        let former = self
            .former
            .iter()
            .map(|(pod, dead_since)| (pod, Some(*dead_since)));
        let recent =
            |since: Option<u64>| since.is_none_or(|since| now.saturating_sub(since) < FORMER);
        let mut same = bound.chain(former).filter(|(pod, _)| **pod == binding.pod);
        binding.evidence >= Evidence::HostRoute && same.any(|(_, since)| recent(since))
    }

    /// Remembers for a while that a pod had an interface which is dead.
    pub(super) fn remember_former(&mut self, pod: PodIdentity, dead_since: u64) {
        let now = kernel_now();
        self.former
            .retain(|_, since| now.saturating_sub(*since) < FORMER);
        self.former.insert(pod, dead_since);
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
        self.bind_at = self.is_any_open().then(|| Instant::now() + self.bind_pause);
        self.bind_pause = (self.bind_pause * 2).min(LONGEST_PAUSE);
    }

    /// Whether there is an interface that is not bound for good.
    fn is_any_open(&self) -> bool {
        let mut living = self
            .books
            .interfaces
            .iter()
            .filter(|interface| !interface.is_dead());
        !self.set_aside.is_empty() || living.any(is_open)
    }

    /// The first source address on each living interface that is not bound for good.
    fn first_sources(&self) -> BTreeMap<u32, IpAddr> {
        let living = self
            .books
            .interfaces
            .iter()
            .filter(|interface| !interface.is_dead());
        let open = living.filter(|interface| is_open(interface));
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

/// What to make of a new binding: an interface changes its pod only for stronger evidence, or when the index does not
/// know the old one any more, and a pod keeps the addresses that it was once known to have.
fn better(old: Option<&Bound>, old_is_known: bool, new: Binding) -> Option<Bound> {
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
    let takes_over = !old_is_known && bound.evidence == old.evidence;
    if !(stronger || takes_over) {
        warn!(?old, new = ?bound, "two pods seem to be behind one interface; it stays with the first");
    }
    (stronger || takes_over).then_some(bound)
}

/// Whether an interface is not bound, or only until there is better evidence.
fn is_open(interface: &Interface) -> bool {
    interface
        .bound
        .as_ref()
        .is_none_or(|bound| bound.evidence.is_provisional())
}

fn is(pod: &Pod, identity: &PodIdentity) -> bool {
    let name = (&pod.name.namespace, &pod.name.name);
    pod.uid == identity.uid && name == (&identity.name.namespace, &identity.name.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ObjectIdentity;

    fn pod(name: &str) -> PodIdentity {
        PodIdentity {
            name: ObjectIdentity {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            },
            uid: name.to_owned(),
        }
    }

    fn binding(name: &str, address: &str, evidence: Evidence) -> Binding {
        Binding {
            pod: pod(name),
            addresses: vec![address.parse().unwrap()],
            evidence,
        }
    }

    fn old(evidence: Evidence) -> Bound {
        better(None, false, binding("a", "10.0.0.1", evidence)).unwrap()
    }

    #[test]
    fn a_pod_keeps_its_addresses_and_its_best_evidence() {
        let new = binding("a", "10.0.0.2", Evidence::HostRoute);
        let bound = better(Some(&old(Evidence::Process)), true, new).unwrap();
        assert_eq!(bound.evidence, Evidence::Process);
        assert_eq!(bound.addresses.len(), 2);
    }

    #[test]
    fn another_pod_takes_stronger_evidence_or_the_end_of_the_first() {
        use Evidence::{FirstSource, HostRoute, Process};
        for (before, known, now, expected) in [
            (FirstSource, true, HostRoute, true),
            (HostRoute, true, HostRoute, false),
            (HostRoute, false, HostRoute, true),
            (Process, false, HostRoute, false),
        ] {
            let bound = better(Some(&old(before)), known, binding("b", "10.0.0.1", now));
            let rebound = bound.is_some_and(|bound| bound.pod == pod("b"));
            assert_eq!(rebound, expected, "{before:?} {known} {now:?}");
        }
    }
}
