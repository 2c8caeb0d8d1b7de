//! The pods of netpol: what runs in them, and what the API server is told of them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use xtask::lab::topology::Node;

use crate::cluster::{AGENT, AGGREGATOR, Cluster, SYSTEM, agent_pod, agent_uid};
use crate::kubelet::Role;

/// The command line of a replica of the aggregator.
pub(crate) fn aggregator(cluster: &Cluster, number: usize, url: Option<&str>) -> Vec<String> {
    let replica = cluster.replica(number);
    let mut arguments = vec![
        "aggregator".to_owned(),
        "--kubeconfig".to_owned(),
        text(&cluster.kubeconfig(AGGREGATOR)),
        format!("--listen={}", replica.api),
        format!("--metrics-listen={}", replica.probes),
    ];
    arguments.extend(match url {
        Some(url) => [
            format!("--postgres={url}"),
            format!("--pod={AGGREGATOR}-{number}"),
        ],
        None => ["--state-dir".to_owned(), text(&cluster.file("aggregator"))],
    });
    arguments
}

/// The command line of a node's agent, which is to observe or to detach.
pub(crate) fn agent(cluster: &Cluster, node: Node, command: &str) -> Vec<String> {
    let lab = &cluster.lab;
    let token = agent_uid(node);
    let own = [
        (
            "node",
            format!("{}={}", node.name(), text(&lab.node_namespace(node))),
        ),
        ("kubeconfig", text(&cluster.kubeconfig(AGENT))),
        ("state-dir", text(&cluster.file(&agent_pod(node)))),
        ("instance", lab.tag().to_owned()),
        ("bpffs", text(&lab.bpffs())),
        ("cni-cache", text(&lab.cni_cache().join("results"))),
    ];
    let delivering = [
        (
            "aggregator",
            format!("https://localhost:{}", cluster.service.port()),
        ),
        ("aggregator-ca", text(&cluster.file("ca.crt"))),
        ("aggregator-token", text(&cluster.file(&token))),
        ("pod-uid", token),
        ("metrics-address", cluster.agent_probes(node).to_string()),
        ("walk-interval", "1s".to_owned()),
        ("hurry", "10".to_owned()),
    ];
    let delivering = delivering.into_iter().filter(|_| command == "node");
    let flags = own.into_iter().chain(delivering);
    let flags = flags.map(|(name, value)| format!("--{name}={value}"));
    std::iter::once(command.to_owned()).chain(flags).collect()
}

/// Puts the pod of a process into the API, if it is not there yet. `state` is that of its container.
pub(crate) fn make(cluster: &Cluster, role: Role, state: &Value) {
    let Some(name) = name(role) else { return };
    if !cluster.api.get("pods", SYSTEM, &name).is_null() {
        return;
    }
    let (of, uid, node, host_network) = match role {
        Role::Agent(node) => (AGENT, agent_uid(node), node, true),
        _ => (AGGREGATOR, format!("uid-of-{name}"), Node::One, false),
    };
    let set = cluster.api.get("daemonsets", SYSTEM, AGENT);
    let mut metadata = json!({
        "name": name, "namespace": SYSTEM, "uid": uid, "creationTimestamp": now(),
        "labels": {"app.kubernetes.io/name": of, "app.kubernetes.io/part-of": "netpol"},
    });
    let annotations = &set["spec"]["template"]["metadata"]["annotations"];
    if of == AGENT && annotations.is_object() {
        metadata["annotations"] = annotations.clone();
    }
    cluster.api.apply(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"nodeName": node.name(), "hostNetwork": host_network, "containers": []},
        "status": {
            "phase": "Running", "startTime": now(), "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": state}],
        },
    }));
}

/// Takes the pod of a process out of the API.
pub(crate) fn forget(cluster: &Cluster, role: Role) {
    let name = name(role).filter(|name| !cluster.api.get("pods", SYSTEM, name).is_null());
    if let Some(name) = name {
        cluster.api.delete("pods", SYSTEM, &name);
    }
}

/// Says how many replicas of the aggregator and how many agents are ready.
pub(crate) fn tell(cluster: &Cluster, aggregators: usize, agents: usize) {
    let definition = ("customresourcedefinitions", "", "learnedpolicies.netpol.io");
    let established = json!({"conditions": [{"type": "Established", "status": "True"}]});
    let available = json!({
        "observedGeneration": 999, "updatedReplicas": aggregators, "availableReplicas": aggregators,
    });
    let nodes = Node::ALL.len();
    let ready = json!({
        "observedGeneration": 999, "desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes,
        "numberReady": agents,
    });
    for (place, status) in [
        (definition, established),
        (("deployments", SYSTEM, AGGREGATOR), available),
        (("daemonsets", SYSTEM, AGENT), ready),
    ] {
        cluster
            .api
            .change(place, |object| object["status"] = status);
    }
}

fn name(role: Role) -> Option<String> {
    match role {
        Role::Aggregator(number) => Some(format!("{AGGREGATOR}-{number}")),
        Role::Agent(node) => Some(agent_pod(node)),
        Role::Database => None,
    }
}

fn now() -> String {
    let second = Timestamp::now().as_second();
    Timestamp::from_second(second).unwrap().to_string()
}

fn text(path: &Path) -> String {
    PathBuf::from(path).into_os_string().into_string().unwrap()
}
