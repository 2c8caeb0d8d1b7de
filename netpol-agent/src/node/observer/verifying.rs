//! Whether the programs are still where they were put, and what they see there.

use std::collections::BTreeMap;

use netpol_common::abi::UDP;
use tracing::warn;

use super::telling::Which;
use super::{Observer, ObserverError};
use crate::node::addresses;
use crate::node::attach::{Programs, State};
use crate::node::links::{self, Link};
use crate::node::sided::{Passed, Sight, judge};

impl Observer {
    /// Verifies programs, judges what they see, and reads the node's addresses anew.
    pub(super) fn verify(&mut self) {
        if self.attacher.wants_spare()
            && let Err(error) = self.load_spare()
        {
            warn!(node = self.name(), "{error}");
        }
        for (ifindex, state) in self.attacher.verify() {
            match state {
                Ok(state) => self.found(ifindex, state),
                Err(error) => warn!(node = self.name(), ifindex, "{error}"),
            }
        }
        match links::scan() {
            Ok(links) => {
                self.judge_sight(&links);
                self.try_again(links);
            }
            Err(error) => warn!(node = self.name(), "{error}"),
        }
        self.read_addresses();
        self.set_aside();
        self.tell(Which::News);
        self.is_news = true;
    }

    /// Loads the programs again, so that they can go before others without a gap.
    fn load_spare(&mut self) -> Result<(), ObserverError> {
        let spare = Programs::try_from(self.kernel.load_again()?)?;
        self.attacher.set_spare(spare);
        Ok(())
    }

    /// Reads the addresses of the node's own interfaces.
    pub(super) fn read_addresses(&mut self) {
        match addresses::of_node() {
            Ok(addresses) => self.outbox.set_node_addresses(addresses),
            Err(error) => warn!(
                node = self.name(),
                "cannot read the node's addresses: {error}"
            ),
        }
    }

    fn found(&mut self, ifindex: u32, state: State) {
        let handle = self
            .books
            .interfaces
            .at(ifindex)
            .map(|interface| interface.handle);
        let (Some(handle), node) = (handle, &self.options.node.name) else {
            return;
        };
        match state {
            State::First | State::Behind(_) => {}
            State::Gone => self.died(handle),
            State::BroughtForward => self.seed(&[handle], &[]),
            State::Reattached => {
                warn!(
                    node,
                    ifindex, "another program had detached ours; attached again"
                );
                self.mark_gap(handle);
                self.seed(&[handle], &[]);
            }
        }
    }

    pub(super) fn mark_gap(&mut self, handle: u32) {
        if let Some(interface) = self.books.interfaces.get_mut(handle) {
            interface.gap = true;
        }
        self.keep_interface(handle);
    }

    fn judge_sight(&mut self, links: &[Link]) {
        let links: BTreeMap<u32, &Link> = links.iter().map(|link| (link.ifindex, link)).collect();
        let living = self
            .books
            .interfaces
            .iter()
            .filter(|interface| !interface.is_dead());
        let passed: Vec<_> = living
            .filter_map(|interface| {
                let link = links.get(&interface.ifindex)?;
                Some((interface.handle, self.passed(interface.handle, link)?))
            })
            .collect();
        for (handle, passed) in passed {
            self.act_on(handle, judge(&passed));
        }
    }

    fn act_on(&mut self, handle: u32, sight: Sight) {
        let Some(interface) = self.books.interfaces.get_mut(handle) else {
            return;
        };
        match sight {
            Sight::Unproven => {}
            Sight::Both | Sight::OneSided => {
                if interface.set_one_sided(sight == Sight::OneSided) {
                    self.keep_interface(handle);
                    if let Err(error) = self.configure(handle) {
                        warn!(node = self.name(), handle, "{error}");
                    }
                }
            }
            Sight::Blind if !interface.gap => {
                warn!(
                    node = self.options.node.name,
                    interface = interface.name,
                    "packets pass this interface, but not netpol's program: look for another program before it"
                );
                self.mark_gap(handle);
            }
            Sight::Blind => {}
        }
    }

    fn passed(&self, handle: u32, link: &Link) -> Option<Passed> {
        let interface = self.books.interfaces.get(handle)?;
        let edges = self.books.account.of_interface(handle);
        let datagrams = edges
            .filter(|(key, _)| key.protocol == UDP)
            .filter_map(|(_, entry)| entry.totals())
            .map(|totals| {
                totals
                    .counts
                    .attempts
                    .saturating_add(totals.counts.answered)
            });
        let (rx, tx) = interface.passed_before;
        Some(Passed {
            stats: self.kernel.stats(interface.ifindex).ok()?,
            datagrams: datagrams.fold(0, u64::saturating_add),
            rx_packets: link.rx_packets.saturating_sub(rx),
            tx_packets: link.tx_packets.saturating_sub(tx),
            older_connections: interface.gap
                || self.books.seeds.of_interface(handle).next().is_some(),
        })
    }
}
