//! Where pods ran: what tells whether somebody may speak of them.

use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::ObjectName;

use super::history::Span;
use super::index::Index;
use super::objects::Pod;

/// Where one pod ran, and when it was there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place<'a> {
    /// Its node; `None` if it was not scheduled.
    pub node: Option<&'a str>,
    /// From when, if it says so.
    pub from: Option<Timestamp>,
    /// Until when, if it is gone.
    pub to: Option<Timestamp>,
}

impl Index {
    /// Where the pod of that name and uid is, or was.
    #[must_use]
    pub fn place_of(&self, name: &ObjectName, uid: &str) -> Option<Place<'_>> {
        let mut records = self.pods.records_named(name);
        let record = records.find(|record| record.pod().uid == uid)?;
        let life = record.life();
        Some(Place {
            node: record.pod().node.as_deref(),
            from: life.from,
            to: life.to,
        })
    }

    /// The pod with a network of its own that has an address now.
    #[must_use]
    pub fn pod_at(&self, address: IpAddr, now: Timestamp) -> Option<&Pod> {
        let owners = self.pods.owners(address, Some(Span::new((now, now))));
        let mut owners = owners.into_iter();
        owners.find(|pod| !pod.host_network && !pod.terminal && !pod.terminating)
    }

    /// Whether there is no node of that name now. Where no node at all is known, nothing tells.
    #[must_use]
    pub fn lacks_node(&self, name: &str) -> bool {
        self.nodes.present_named(name).is_none() && self.nodes.present().next().is_some()
    }

    /// How many objects are there now, by kind; owners of all kinds count as `Owner`.
    #[must_use]
    pub fn present_counts(&self) -> [(&'static str, usize); 6] {
        [
            ("EndpointSlice", self.services.present_slices().count()),
            ("Namespace", self.namespaces.len()),
            ("Node", self.nodes.present().count()),
            ("Owner", self.owners.present(None).count()),
            ("Pod", self.pods.present().count()),
            ("Service", self.services.present().count()),
        ]
    }

    /// Whether any pod of that name is known, present or gone.
    #[must_use]
    pub fn knows_name(&self, name: &ObjectName) -> bool {
        self.pods.records_named(name).next().is_some()
    }
}
