//! Gathering the facts: every source is read once for all interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tracing::warn;

use super::kernel::{Tables, inner_addresses};
use super::{Binder, Facts, cni, process};
use crate::node::links::Link;
use crate::node::netlink::NetlinkError;

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
        let tables = Tables::open()?;
        facts.sandboxes = self.sandboxes(&tables);
        facts.cni = cni::results(&self.options.cni_cache, &tables);
        facts.routes = tables.host_routes()?;
        (facts.fdb, facts.neighbours) = tables.neighbours()?;
        let numbers: BTreeSet<i32> = links.iter().filter_map(|link| link.netnsid).collect();
        facts.inner = inner_addresses(numbers)?;
        Ok(())
    }

    fn sandboxes(&self, tables: &Tables) -> Vec<super::Sandbox> {
        let proc = &self.options.proc;
        process::sandboxes(proc, tables).unwrap_or_else(|error| {
            warn!(%error, proc = %proc.display(), "processes cannot be listed; is this where proc is mounted?");
            Vec::new()
        })
    }
}
