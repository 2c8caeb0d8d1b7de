//! Gathering the facts: every source is read once for all interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tracing::warn;

use super::kernel::{Tables, inner_addresses};
use super::{Binder, Facts, Sandbox, cni};
use crate::node::links::Link;
use crate::node::netlink::NetlinkError;
use crate::node::netns::Numbers;
use crate::node::processes;

impl Binder {
    /// What is known in the calling thread's network namespace about `links`, and about `sources` as given.
    ///
    /// What cannot be read counts as absent and is logged.
    #[must_use]
    pub fn gather(&self, links: &[Link], sources: &BTreeMap<u32, IpAddr>) -> Facts {
        let mut facts = Facts {
            sources: sources.clone(),
            ..Facts::default()
        };
        if let Err(error) = self.read(links, &mut facts) {
            warn!(%error, "some evidence of which pod an interface belongs to cannot be read");
        }
        facts
    }

    fn read(&self, links: &[Link], facts: &mut Facts) -> Result<(), NetlinkError> {
        let numbers = Numbers::open()?;
        facts.sandboxes = self.sandboxes(&numbers);
        facts.cni = cni::results(&self.options.cni_cache, &numbers);
        let tables = Tables::open()?;
        facts.routes = tables.host_routes()?;
        (facts.fdb, facts.neighbours) = tables.neighbours()?;
        let inner: BTreeSet<i32> = links.iter().filter_map(|link| link.netnsid).collect();
        facts.inner = inner_addresses(inner)?;
        Ok(())
    }

    fn sandboxes(&self, numbers: &Numbers) -> Vec<Sandbox> {
        let proc = &self.options.proc;
        match processes::inhabitants(proc, numbers) {
            Ok(found) => found.sandboxes,
            Err(error) => {
                let proc = proc.display();
                warn!(%error, %proc, "processes cannot be listed; is the process file system mounted there?");
                Vec::new()
            }
        }
    }
}
