//! Interfaces that come and go.

use std::collections::BTreeMap;

use netpol_common::abi::InterfaceConfig;
use tracing::{debug, info, warn};

use super::{Observer, ObserverError};
use crate::node::attach::Outcome;
use crate::node::clock::kernel_now;
use crate::node::interfaces::Interface;
use crate::node::links::{self, Link, LinkEvent};
use crate::node::spoken::silent;

/// Since when an interface may have carried packets that nobody saw.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Age {
    /// It was there when the observer came to look.
    Older,
    /// It was announced just now.
    New,
}

impl Observer {
    /// Follows what happened to the interfaces.
    pub(super) fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Resync(links) => self.resync(links),
            LinkEvent::Added(link) => self.added(vec![link], Age::New),
            LinkEvent::Changed(link) => self.changed(link),
            LinkEvent::Removed(ifindex) => self.removed(ifindex),
        }
    }

    /// Brings everything in line with the interfaces that there are.
    pub(super) fn resync(&mut self, links: Vec<Link>) {
        let gone: Vec<u32> = self.links.keys().copied().collect();
        let gone = gone
            .into_iter()
            .filter(|old| links.iter().all(|link| link.ifindex != *old));
        gone.for_each(|ifindex| self.removed(ifindex));
        self.added(links, Age::Older);
    }

    fn added(&mut self, links: Vec<Link>, age: Age) {
        let mut new = Vec::new();
        for link in links {
            if link.may_be_pods() && self.books.interfaces.at(link.ifindex).is_none() {
                new.push(link.ifindex);
            }
            self.links.insert(link.ifindex, link);
        }
        if !new.is_empty() {
            self.observe(&new, age);
        }
    }

    /// An announced veth gets its other end, or is moved into a pod, a moment later.
    fn changed(&mut self, link: Link) {
        if self.books.interfaces.at(link.ifindex).is_some() {
            self.links.insert(link.ifindex, link);
            self.bind_from_start();
        } else {
            self.added(vec![link], Age::New);
        }
    }

    /// Begins to observe interfaces, with connections counted that are older.
    pub(super) fn observe(&mut self, new: &[u32], age: Age) {
        let handles: Vec<u32> = new
            .iter()
            .filter_map(|ifindex| self.prepare(*ifindex, age))
            .collect();
        let before = match age {
            Age::Older => {
                self.bind_from_start();
                let before = self.open_connections(&handles);
                self.tell_directions(&before);
                before
            }
            // Its pod's first connection may be over before anything was looked up.
            Age::New => Vec::new(),
        };
        let attached: Vec<u32> = handles
            .into_iter()
            .filter(|handle| self.attach(*handle))
            .collect();
        self.note_refused(new);
        if age == Age::New {
            self.mark_late(&attached);
            self.bind_from_start();
        }
        self.seed(&attached, &before);
    }

    fn note_refused(&mut self, tried: &[u32]) {
        let now = kernel_now();
        for ifindex in tried {
            if self.books.interfaces.at(*ifindex).is_some() {
                self.refused.forget(*ifindex);
            } else {
                self.refused.note(*ifindex, now);
            }
        }
    }

    /// Marks the new interfaces on which the pod may have sent something before the programs were attached just now: those
    /// with packets, unless nobody in the pod's network namespace has spoken yet.
    fn mark_late(&mut self, attached: &[u32]) {
        let links = links::scan().unwrap_or_else(|error| {
            warn!(node = self.name(), "{error}");
            self.links.values().cloned().collect()
        });
        let used: BTreeMap<u32, Option<i32>> = links
            .iter()
            .filter(|link| link.rx_packets > 0)
            .map(|link| (link.ifindex, link.netnsid))
            .collect();
        let place = |handle: &u32| {
            let interface = self.books.interfaces.get(*handle)?;
            Some((*handle, *used.get(&interface.ifindex)?))
        };
        let late: Vec<(u32, Option<i32>)> = attached.iter().filter_map(place).collect();
        if late.is_empty() {
            return;
        }
        let mut carried: BTreeMap<i32, u64> = BTreeMap::new();
        for link in &links {
            if let Some(namespace) = link.netnsid {
                let sum = carried.entry(namespace).or_default();
                *sum = sum.saturating_add(link.rx_packets);
            }
        }
        carried.retain(|namespace, _| late.iter().any(|(_, other)| *other == Some(*namespace)));
        let silent = silent(&self.options.bind.proc, &carried);
        for (handle, namespace) in late {
            if namespace.is_none_or(|namespace| !silent.contains(&namespace)) {
                self.mark_gap(handle);
            }
        }
    }

    /// Gives an interface its handle and tells the kernel program.
    fn prepare(&mut self, ifindex: u32, age: Age) -> Option<u32> {
        let link = self.links.get(&ifindex)?;
        let passed = (link.rx_packets, link.tx_packets);
        let name = link.name.clone();
        let handle = match self.kernel.next_interface() {
            Ok(handle) => handle,
            Err(error) => {
                warn!(
                    node = self.name(),
                    interface = name,
                    "cannot observe: {error}"
                );
                return None;
            }
        };
        let interface = Interface {
            gap: age == Age::Older && passed.0 > 0,
            passed_before: passed,
            since: kernel_now(),
            ..Interface::new(handle, ifindex, &name)
        };
        self.books.interfaces.insert(interface);
        self.keep_interface(handle);
        self.set_aside.remove(&ifindex);
        if let Err(error) = self.configure(handle) {
            warn!(
                node = self.name(),
                interface = name,
                "cannot observe: {error}"
            );
            self.died(handle);
            return None;
        }
        Some(handle)
    }

    /// Tells the kernel program about an interface as it stands in the books.
    pub(super) fn configure(&mut self, handle: u32) -> Result<(), ObserverError> {
        let Some(interface) = self.books.interfaces.get(handle) else {
            return Ok(());
        };
        let config = InterfaceConfig {
            interface: handle,
            flags: if interface.one_sided {
                InterfaceConfig::ONE_SIDED
            } else {
                0
            },
            quota: self.options.quota,
            ..InterfaceConfig::default()
        };
        Ok(self.kernel.configure(interface.ifindex, config)?)
    }

    /// Attaches the programs. Returns whether the interface is observed now.
    fn attach(&mut self, handle: u32) -> bool {
        let Some(interface) = self.books.interfaces.get(handle) else {
            return false;
        };
        let (ifindex, name) = (interface.ifindex, interface.name.clone());
        match self.attacher.attach(ifindex, handle) {
            Ok(Outcome::Attached) => {
                info!(
                    node = self.name(),
                    interface = name,
                    ifindex,
                    handle,
                    "observing"
                );
                return true;
            }
            Ok(Outcome::Gone) => debug!(node = self.name(), interface = name, "gone meanwhile"),
            Err(error) => warn!(
                node = self.name(),
                interface = name,
                "cannot observe: {error}"
            ),
        }
        self.died(handle);
        false
    }

    /// Tries interfaces again that could not be observed, or were taken for gone.
    pub(super) fn try_again(&mut self, links: Vec<Link>) {
        let now = kernel_now();
        let due = links.into_iter().filter(|link| {
            let missing = self.books.interfaces.at(link.ifindex).is_none();
            let wanted = link.may_be_pods() && !self.set_aside.contains(&link.ifindex);
            missing && wanted && self.refused.is_due(link.ifindex, now)
        });
        let due: Vec<Link> = due.collect();
        if !due.is_empty() {
            self.added(due, Age::Older);
        }
    }

    fn removed(&mut self, ifindex: u32) {
        self.links.remove(&ifindex);
        self.refused.forget(ifindex);
        self.set_aside.remove(&ifindex);
        if let Some(handle) = self
            .books
            .interfaces
            .at(ifindex)
            .map(|interface| interface.handle)
        {
            self.died(handle);
        }
    }

    /// Ends an interface: what was counted stays in the maps until it is delivered.
    pub(super) fn died(&mut self, handle: u32) {
        let Some(ifindex) = self
            .books
            .interfaces
            .get(handle)
            .map(|interface| interface.ifindex)
        else {
            return;
        };
        self.read_losses_of(handle, ifindex);
        let mut pod = None;
        let now = kernel_now();
        if let Some(interface) = self.books.interfaces.get_mut(handle) {
            interface.dead_since.get_or_insert(now);
            pod = interface.bound.as_ref().map(|bound| bound.pod.clone());
            debug!(
                interface = interface.name,
                ifindex, handle, "no longer observed"
            );
        }
        if let Some(pod) = pod {
            self.remember_former(pod, now);
        }
        self.keep_interface(handle);
        if let Err(error) = self.kernel.forget(ifindex) {
            warn!(node = self.name(), ifindex, "{error}");
        }
        if let Err(error) = self.attacher.detach(ifindex) {
            warn!(node = self.name(), ifindex, "{error}");
        }
    }

    /// Stops observing interfaces that no pod was ever found for, such as a node's uplink.
    pub(super) fn set_aside(&mut self) {
        let now = kernel_now();
        let idle = self.books.interfaces.iter().filter(|interface| {
            let unbound = interface.bound.is_none() && !interface.is_dead();
            unbound && now.saturating_sub(interface.since) > UNBOUND
        });
        let idle: Vec<(u32, u32)> = idle
            .map(|interface| (interface.handle, interface.ifindex))
            .collect();
        for (handle, ifindex) in idle {
            self.died(handle);
            self.set_aside.insert(ifindex);
            let name = self.links.get(&ifindex).map(|link| link.name.as_str());
            info!(
                node = self.name(),
                interface = name,
                "set aside: no pod was found behind it"
            );
        }
    }
}

/// How long an interface is observed without a pod, in nanoseconds.
const UNBOUND: u64 = 300_000_000_000;
