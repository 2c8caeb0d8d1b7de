//! The lives of pods, by workload: what tells whether a start or a restart was watched.

use std::collections::BTreeMap;

use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use netpol_common::record::Endpoint;

use super::history::Span;
use super::index::Index;
use super::pods::earlier;
use super::resolve::Peer;

/// When a pod was there, as far as is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Life {
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When one of its containers last started again.
    pub restarted: Option<Timestamp>,
    /// When it finished or was gone.
    pub ended: Option<Timestamp>,
}

impl Life {
    /// When it started; when it was made, if only that is known.
    #[must_use]
    pub fn start(&self) -> Option<Timestamp> {
        self.started.or(self.created)
    }
}

impl Index {
    /// The lives of every pod that is known, present or gone, by workload; also of workloads without pods. Pods on
    /// their nodes' network are left out, and workloads all of whose pods are.
    #[must_use]
    pub fn lives(&self) -> BTreeMap<WorkloadName, Vec<Life>> {
        let own = self
            .workloads()
            .into_iter()
            .filter(|view| !view.host_network);
        let mut lives: BTreeMap<WorkloadName, Vec<Life>> =
            own.map(|view| (view.name, Vec::new())).collect();
        let records = self.pods.in_namespace(None);
        for record in records.filter(|record| !record.pod().host_network) {
            let pod = record.pod();
            let gone = record.gone().map(|end| end.at);
            lives.entry(self.workload_of(pod)).or_default().push(Life {
                created: pod.created,
                started: pod.started,
                restarted: pod.restarted,
                ended: earlier(pod.finished, gone),
            });
        }
        lives
    }

    /// Whom one end of a flow stands for, if that can be told of it alone.
    #[must_use]
    pub fn peer_at_end(
        &self,
        end: &Endpoint,
        span: Option<(Timestamp, Timestamp)>,
    ) -> Option<Peer> {
        let end = self.end(end, span.map(Span::new), None).ok()?;
        Some(end.peer)
    }
}
