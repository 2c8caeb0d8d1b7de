//! `--peers namespace`: a workload as a peer is written as its whole namespace.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;

use super::{Wide, specs};
use crate::identity::Peer;
use crate::policy::learn::Learned;
use crate::policy::model::WrittenAs;
use crate::policy::options::{Options, Peers};
use crate::policy::widening::Widening;
use crate::policy::writer::Writer;

/// Writes the namespace instead of each workload that a selector could match.
pub(super) fn widen(
    writer: &Writer<'_>,
    options: &Options,
    learned: &mut [Learned],
) -> Vec<Widening> {
    if options.peers != Peers::Namespace {
        return Vec::new();
    }
    let mut seen: BTreeMap<String, BTreeSet<WorkloadName>> = BTreeMap::new();
    for one in &mut *learned {
        let Peer::Workload(name) = one.peer().clone() else {
            continue;
        };
        if one.stand_ins.is_none() && !writer.stands_for_more(one.peer()) {
            let wide = [Wide::Namespace(name.namespace.clone())];
            one.stand_in(wide, Some(WrittenAs::Namespace));
            seen.entry(name.namespace.clone()).or_default().insert(name);
        }
    }
    let namespaces = seen.into_iter().map(|(namespace, seen)| {
        let as_it = learned.iter().filter(|one| stands_as(one, &namespace));
        Widening::Namespace {
            ports: specs(as_it),
            others: others(writer, &namespace, &seen),
            namespace,
        }
    });
    namespaces.collect()
}

fn stands_as(learned: &Learned, namespace: &str) -> bool {
    let mut wide = learned.stand_ins.iter().flat_map(|wide| wide.iter());
    wide.any(|wide| matches!(wide, Wide::Namespace(name) if name == namespace))
}

/// The workloads of a namespace besides those that were seen.
pub(super) fn others(
    writer: &Writer<'_>,
    namespace: &str,
    seen: &BTreeSet<WorkloadName>,
) -> BTreeSet<WorkloadName> {
    let workloads = writer.cluster.workloads.iter();
    workloads
        .filter(|(name, workload)| name.namespace == namespace && !workload.host_network)
        .map(|(name, _)| name)
        .filter(|name| !seen.contains(name))
        .cloned()
        .collect()
}
