//! Telling people what was counted and makes no edge.

use tracing::{info, warn};

use super::Observer;
use crate::node::interfaces::{Held, Verdict};
use crate::node::tally::{Tally, Traffic, Weight};

/// Which of the counts are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Which {
    /// What has come up, or doubled, since it was told last.
    News,
    /// All there are.
    All,
}

impl Observer {
    /// Tells what was counted on each interface, and on the node.
    pub(super) fn tell(&mut self, which: Which) {
        let handles = self.books.interfaces.iter();
        let handles: Vec<u32> = handles.map(|interface| interface.handle).collect();
        for handle in handles {
            self.tell_of(handle, which);
        }
        match self.kernel.counters() {
            Ok(counters) => {
                let troubles = self.teller.troubles(&counters);
                let node = self.options.node.name.as_str();
                if which == Which::All {
                    info!(node, packets = %Traffic::of(&counters), "counted in this epoch");
                } else if let Some(troubles) = troubles {
                    info!(node, packets = %troubles, "not every packet could be accounted for at once");
                }
            }
            Err(error) => warn!(node = self.name(), "{error}"),
        }
    }

    /// Tells how many edges will never learn whose they are, since the maps are about to go.
    pub(super) fn tell_parked(&self) {
        let entries = self.books.account.iter();
        let parked = entries.filter(|(key, entry)| {
            let verdict = self.books.interfaces.verdict(key);
            verdict == Verdict::Park && !entry.is_blank()
        });
        let edges = parked.count();
        if edges > 0 {
            warn!(
                node = self.name(),
                edges, "given up: the pods of these edges were never found"
            );
        }
    }

    /// Tells what was counted on one interface.
    pub(super) fn tell_of(&mut self, handle: u32, which: Which) {
        let Some(interface) = self.books.interfaces.get(handle) else {
            return;
        };
        let losses = self.books.losses_of(handle).map(|told| told.losses);
        let losses = losses.unwrap_or_else(|| interface.losses(Held::default()));
        let tally = Tally::new(interface, losses);
        let news = self.teller.news(handle, &tally);
        let weight = match which {
            Which::News => news,
            Which::All => news.or(Some(Weight::Note)),
        };
        let Some(weight) = weight.filter(|_| !tally.is_empty()) else {
            return;
        };
        let pod = interface.bound.as_ref().map(|bound| &bound.pod.name);
        let pod = pod.map_or_else(
            || "unknown".to_owned(),
            |pod| format!("{}/{}", pod.namespace, pod.name),
        );
        let (node, interface) = (self.name(), interface.name.as_str());
        match weight {
            Weight::Loss => {
                warn!(node, interface, pod, counted = %tally, "something is missing");
            }
            Weight::Note => info!(node, interface, pod, counted = %tally, "not in the graph"),
        }
    }
}
