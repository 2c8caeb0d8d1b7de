//! Pods as the API shows them from their creation to their end.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::workload::Workload;
use super::{metadata, uid};
use crate::lab::topology::Node;

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Scheduled; no address in the API yet.
    Pending,
    /// Running.
    Running,
    /// All containers ended well; its addresses are free again.
    Succeeded,
}

/// A pod of the lab.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) workload: Workload,
    pub(crate) run: u32,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: Node,
    pub(crate) addresses: [IpAddr; 2],
    pub(crate) phase: Phase,
    created: Timestamp,
    started: Timestamp,
    finished: Option<Timestamp>,
    deleted: Option<Timestamp>,
    labels: Value,
    tag: String,
}

impl Pod {
    /// A pod that has just been scheduled.
    pub(crate) fn scheduled(
        workload: &Workload,
        (run, ordinal): (u32, u32),
        node: Node,
        addresses: [IpAddr; 2],
        now: Timestamp,
        tag: &str,
    ) -> Self {
        let name = workload.pod_name(run, ordinal);
        let identity = format!("Pod/{}/{name}/{now}", workload.namespace);
        Self {
            workload: *workload,
            run,
            uid: uid(tag, &identity),
            node,
            addresses,
            phase: Phase::Pending,
            created: now,
            started: now,
            finished: None,
            deleted: None,
            labels: workload.pod_labels(run, ordinal, tag).into(),
            tag: tag.to_owned(),
            name,
        }
    }

    pub(crate) fn run_containers(&mut self) {
        self.phase = Phase::Running;
    }

    pub(crate) fn succeed(&mut self, now: Timestamp) {
        self.phase = Phase::Succeeded;
        self.finished = Some(now);
    }

    /// Marks the pod for deletion, as the API server does for the length of its grace period.
    pub(crate) fn terminate(&mut self, now: Timestamp) {
        self.deleted = Some(now);
    }

    /// Whether services send connections to it.
    pub(crate) fn ready(&self) -> bool {
        self.phase == Phase::Running && self.deleted.is_none()
    }

    /// Whether its labels hold all of `selector`.
    pub(crate) fn matches(&self, selector: &[(&str, &str)]) -> bool {
        selector
            .iter()
            .all(|(key, value)| self.labels[*key] == **value)
    }

    pub(super) fn object(&self) -> Value {
        let mut spec = self.workload.pod_spec();
        spec["nodeName"] = self.node.name().into();
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": self.metadata(),
            "spec": spec, "status": self.status(),
        })
    }

    fn metadata(&self) -> Value {
        let namespace = self.workload.namespace;
        let mut metadata = metadata("Pod", namespace, &self.name, self.created, &self.tag);
        metadata["uid"] = self.uid.clone().into();
        metadata["labels"] = self.labels.clone();
        if let Some(deleted) = self.deleted {
            metadata["deletionTimestamp"] = super::time(deleted);
            metadata["deletionGracePeriodSeconds"] = 30.into();
        }
        if let Some(owner) = self.workload.pod_owner(self.run) {
            let identity = format!("{}/{namespace}/{}", owner.kind, owner.name);
            metadata["ownerReferences"] = json!([{
                "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name,
                "uid": uid(&self.tag, &identity), "controller": true, "blockOwnerDeletion": true,
            }]);
        }
        metadata
    }

    fn status(&self) -> Value {
        let phase = match self.phase {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
        };
        let [node_v4, node_v6] = self.node.addresses();
        let mut status = json!({
            "phase": phase,
            "startTime": super::time(self.started),
            "hostIP": node_v4, "hostIPs": [{"ip": node_v4}, {"ip": node_v6}],
            "conditions": [{"type": "Ready", "status": if self.ready() { "True" } else { "False" }}],
        });
        if self.phase != Phase::Pending {
            let [v4, v6] = self.addresses;
            status["podIP"] = json!(v4);
            status["podIPs"] = json!([{"ip": v4}, {"ip": v6}]);
            status["containerStatuses"] = json!([self.container_status()]);
        }
        status
    }

    fn container_status(&self) -> Value {
        let state = match self.finished {
            Some(finished) => json!({"terminated": {
                "exitCode": 0, "reason": "Completed",
                "startedAt": super::time(self.started), "finishedAt": super::time(finished),
            }}),
            None => json!({"running": {"startedAt": super::time(self.started)}}),
        };
        json!({
            "name": "main", "image": "lab.invalid/main:1", "imageID": "", "restartCount": 0,
            "ready": self.ready(), "state": state,
        })
    }
}
