//! Having every node's agent take its program, links and maps out of the kernel.
//!
//! The DaemonSet's own pods do it, with the rights that they have: their command is replaced by `detach`, all of them at
//! once, and a pod whose command has ended well has detached its node.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, ContainerState, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use netpol_common::names::cluster::AGENT_DAEMON_SET;
use serde_json::{Value, json};

use super::super::learned::FIELD_MANAGER;
use super::PAUSE;
use crate::cluster::{Cluster, ClusterError, Session};

/// What the pods run instead of observing. It stands in fields that installing sets too, so that an uninstall that was given
/// up leaves nothing of itself once netpol is installed again.
const DETACH: [&str; 3] = ["detach", "--discard", "--forget"];

/// What became of the nodes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Nodes {
    /// How many are detached.
    pub(super) done: usize,
    /// Those that are known not to be.
    left: BTreeSet<String>,
    /// On how many there is to be an agent.
    wanted: usize,
}

impl Nodes {
    /// How many there are, as far as is known.
    fn all(&self) -> usize {
        self.wanted.max(self.done + self.left.len())
    }

    /// Those that are not detached, in words; nothing if there are none.
    pub(super) fn left(&self) -> Option<String> {
        let mut words: Vec<String> = self.left.iter().cloned().collect();
        match self.all() - self.done - self.left.len() {
            0 => {}
            1 => words.push("1 node without a pod of the agent's".to_owned()),
            more => words.push(format!("{more} nodes without a pod of the agent's")),
        }
        Some(words.join(", ")).filter(|words| !words.is_empty())
    }
}

/// Detaches on every node that runs an agent, or gives up in the end; nothing if there is no DaemonSet.
pub(super) fn detach(
    session: &Session,
    patience: Duration,
    progress: impl Fn(usize, usize),
) -> Result<Option<Nodes>, ClusterError> {
    let cluster = session.cluster();
    if !session.wait(replace_command(cluster))? {
        return Ok(None);
    }
    let until = Instant::now() + patience;
    loop {
        let (pods, wanted) = session.wait(pods(cluster))?;
        let nodes = judge(&pods, wanted);
        progress(nodes.done, nodes.all());
        if nodes.done == nodes.all() || Instant::now() >= until {
            return Ok(Some(nodes));
        }
        session.sleep(PAUSE);
    }
}

/// Replaces what the DaemonSet's pods run. Returns whether there is one.
async fn replace_command(cluster: &Cluster) -> Result<bool, ClusterError> {
    let namespace = &cluster.netpol_namespace;
    let api: Api<DaemonSet> = Api::namespaced(cluster.client.clone(), namespace);
    let place = format!("daemonsets.apps {AGENT_DAEMON_SET:?} in namespace {namespace:?}");
    let known = api.get_opt(AGENT_DAEMON_SET);
    let Some(known) = cluster.ask(format!("get {place}"), known).await? else {
        return Ok(false);
    };
    let patch = Patch::Merge(patch(&known));
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = api.patch(AGENT_DAEMON_SET, &parameters, &patch);
    cluster.ask(format!("patch {place}"), patched).await?;
    Ok(true)
}

fn patch(known: &DaemonSet) -> Value {
    let template = known
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let containers = template
        .map(|spec| spec.containers.clone())
        .unwrap_or_default();
    let containers: Vec<Container> = containers.into_iter().map(detaching).collect();
    json!({
        "metadata": {"resourceVersion": known.resource_version()},
        "spec": {
            // All nodes at once: pods that detach never become ready.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"spec": {"containers": containers}},
        },
    })
}

/// The same container, with another command and no probes.
fn detaching(container: Container) -> Container {
    Container {
        args: Some(DETACH.map(str::to_owned).into()),
        liveness_probe: None,
        readiness_probe: None,
        startup_probe: None,
        ports: None,
        ..container
    }
}

/// The agents' pods, and on how many nodes there is to be one.
async fn pods(cluster: &Cluster) -> Result<(Vec<Pod>, usize), ClusterError> {
    let namespace = &cluster.netpol_namespace;
    let api: Api<DaemonSet> = Api::namespaced(cluster.client.clone(), namespace);
    let place = format!("daemonsets.apps {AGENT_DAEMON_SET:?} in namespace {namespace:?}");
    let known = cluster
        .ask(format!("get {place}"), api.get(AGENT_DAEMON_SET))
        .await?;
    let wanted = known
        .status
        .map_or(0, |status| status.desired_number_scheduled);
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let labels = format!("app.kubernetes.io/name={AGENT_DAEMON_SET}");
    let parameters = ListParams::default().labels(&labels);
    let listed = cluster.ask(
        format!("list pods in namespace {namespace:?}"),
        api.list(&parameters),
    );
    Ok((listed.await?.items, usize::try_from(wanted).unwrap_or(0)))
}

/// Which nodes are detached, by what their pods' containers came to. A node whose pod cannot be scheduled, or was not made
/// anew yet, is one of those that are `wanted` and not done.
fn judge(pods: &[Pod], wanted: usize) -> Nodes {
    let done: BTreeSet<String> = pods
        .iter()
        .filter(|pod| is_detached(pod))
        .filter_map(node_of)
        .collect();
    let left = pods.iter().filter_map(node_of);
    Nodes {
        left: left.filter(|node| !done.contains(node)).collect(),
        done: done.len(),
        wanted,
    }
}

/// The node that a pod is on, or waits for: the controller of DaemonSets binds each of its pods to a node by the node's name.
fn node_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = &spec.node_name {
        return Some(node.clone());
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let fields = required
        .node_selector_terms
        .iter()
        .filter_map(|term| term.match_fields.as_ref());
    let mut names = fields
        .flatten()
        .filter(|field| field.key == "metadata.name" && field.operator == "In")
        .filter_map(|field| field.values.as_ref()?.first());
    names.next().cloned()
}

/// Whether a pod is there to detach and has done so. Its container is started again and again, so the last end counts too.
fn is_detached(pod: &Pod) -> bool {
    let ended_well = |state: &Option<ContainerState>| {
        let ended = state.as_ref().and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0)
    };
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    let mut statuses = statuses.into_iter().flatten();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut commands = containers.filter_map(|container| container.args.as_ref()?.first());
    commands.any(|command| command == DETACH[0])
        && statuses.any(|status| ended_well(&status.state) || ended_well(&status.last_state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: &str, detaching: bool, state: Value) -> Pod {
        let arguments: &[&str] = if detaching { &DETACH } else { &["node"] };
        // Whatever it does now, its container has ended well before.
        let ended = json!({"terminated": {"exitCode": 0}});
        let last = if detaching { json!({}) } else { ended };
        let pod = json!({
            "metadata": {"name": node},
            "spec": {"nodeName": node, "containers": [{"name": "agent", "args": arguments}]},
            "status": {"containerStatuses": [{"name": "agent", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": state, "lastState": last}]},
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_node_is_detached_when_its_command_has_ended_well() {
        let ended = |code: i32| json!({"terminated": {"exitCode": code}});
        let pods = [
            pod("a", true, ended(0)),
            pod("b", true, ended(2)),
            pod("c", true, json!({"running": {}})),
            // An agent that observes and ended before the command was replaced.
            pod("d", false, ended(0)),
            pod("e", false, json!({"running": {}})),
        ];
        let left = ["b", "c", "d", "e"].map(str::to_owned).into();
        let wanted = 5;
        let nodes = Nodes {
            done: 1,
            left,
            wanted,
        };
        assert_eq!(judge(&pods, wanted), nodes);
        assert_eq!(nodes.left().as_deref(), Some("b, c, d, e"));
        assert_eq!(judge(&pods[..1], 1).left(), None);
    }

    #[test]
    fn a_node_whose_pod_is_not_there_or_waits_is_not_detached() {
        let ended = json!({"terminated": {"exitCode": 0}});
        let done = pod("a", true, ended);
        let told = |pods: &[Pod], wanted| judge(pods, wanted).left();
        let one = Some("1 node without a pod of the agent's".to_owned());
        assert_eq!(told(std::slice::from_ref(&done), 2), one);
        let mut waits = pod("b", true, json!({"waiting": {}}));
        let field = json!({"key": "metadata.name", "operator": "In", "values": ["b"]});
        let required = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        let affinity =
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        let spec = waits.spec.as_mut().unwrap();
        spec.node_name = None;
        spec.affinity = Some(serde_json::from_value(affinity).unwrap());
        let pods = [done, waits];
        assert_eq!(told(&pods, 2).as_deref(), Some("b"));
        let both = Some("b, 2 nodes without a pod of the agent's");
        assert_eq!(told(&pods, 4).as_deref(), both);
    }

    #[test]
    fn the_command_is_replaced_and_nothing_waits_for_it() {
        let known = json!({
            "metadata": {"name": "netpol-agent", "resourceVersion": "5"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{
                "name": "agent", "image": "i", "args": ["node"],
                "livenessProbe": {"periodSeconds": 5}, "volumeMounts": [{"name": "bpffs", "mountPath": "/sys/fs/bpf"}],
            }]}}},
        });
        let patch = patch(&serde_json::from_value(known).unwrap());
        let container = &patch["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["args"],
            json!(["detach", "--discard", "--forget"])
        );
        assert!(container.get("livenessProbe").is_none());
        assert_eq!(container["volumeMounts"][0]["name"], "bpffs");
        assert_eq!(patch["metadata"]["resourceVersion"], "5");
    }
}
