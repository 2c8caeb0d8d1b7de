//! Flow records whose ends outlive their pods.
//!
//! A record names a pod or an address, and whoever reads it looks that up in an inventory that may be younger: a pod
//! that is gone by then is in none. Such an end is written as its workload, which the index still knows.

use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::View;

use crate::identity::{Index, Peer, Resolution, Sighting};

/// The record, with the workload in the place of each end that the present objects would not tell.
#[must_use]
pub fn lasting(mut record: FlowRecord, index: &Index) -> FlowRecord {
    let client = resolve(&record, record.view, index).map(|(client, _)| client);
    // As the server's interface would see it: an address of a service is nobody's own.
    let server = resolve(&record, Some(View::Server), index).map(|(_, server)| server);
    for (end, peer) in [(&mut record.client, client), (&mut record.server, server)] {
        if let Some(Peer::Workload(workload)) = peer
            && !told(end, &workload, record.time, index)
        {
            *end = Endpoint::Workload(workload);
        }
    }
    record
}

fn resolve(record: &FlowRecord, view: Option<View>, index: &Index) -> Option<(Peer, Peer)> {
    let sighting = Sighting {
        view,
        ..record.into()
    };
    match index.resolve(&sighting) {
        Resolution::Edges(edges) => {
            let (id, _) = edges.into_iter().next()?;
            Some((id.client, id.server))
        }
        Resolution::Unresolved(_) => None,
    }
}

/// Whether the present objects tell that the end is of that workload.
fn told(end: &Endpoint, workload: &WorkloadName, at: Option<Timestamp>, index: &Index) -> bool {
    match end {
        Endpoint::Workload(_) => true,
        Endpoint::Pod(name) => index.pod(name).is_some(),
        Endpoint::Ip(address) => owned(*address, workload, at, index),
    }
}

fn owned(address: IpAddr, of: &WorkloadName, at: Option<Timestamp>, index: &Index) -> bool {
    index.pods_at(address).any(|pod| {
        let old_enough = pod
            .created
            .zip(at)
            .is_none_or(|(created, at)| created <= at);
        old_enough && pod.ips.contains(&address) && index.workload_of(pod) == *of
    })
}
