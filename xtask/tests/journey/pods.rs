//! The pods of netpol: what runs in them, and what the API server is told of them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use xtask::lab::topology::Node;

use crate::cluster::{AGENT, AGGREGATOR, Cluster, SYSTEM, agent_pod, agent_uid};
use crate::kubelet::Role;
use crate::process::Launch;

/// What a replica of the aggregator is started with: what the Deployment says, but for what is otherwise in a lab.
pub(crate) fn aggregator(cluster: &Cluster, number: usize, url: Option<&str>) -> Option<Launch> {
    let replica = cluster.replica(number);
    let set = cluster.api.get("deployments", SYSTEM, AGGREGATOR);
    let mut launch = launch(&set, Role::Aggregator(number))?;
    launch.variables.extend(variables([
        ("KUBECONFIG", text(&cluster.kubeconfig(AGGREGATOR))),
        ("LISTEN", replica.api.to_string()),
        ("METRICS_LISTEN", replica.probes.to_string()),
        ("STATE_DIR", text(&cluster.file("aggregator"))),
    ]));
    // As the chart has it with a database.
    launch.variables.extend(url.into_iter().flat_map(|url| {
        let pod = format!("{AGGREGATOR}-{number}");
        variables([("POSTGRES", url.to_owned()), ("POD", pod)])
    }));
    Some(launch)
}

/// What a node's agent is started with, be it to observe or to detach: what the DaemonSet says, but for what is otherwise in a
/// lab.
pub(crate) fn agent(cluster: &Cluster, node: Node) -> Option<Launch> {
    let lab = &cluster.lab;
    let token = agent_uid(node);
    let namespace = text(&lab.node_namespace(node));
    let service = cluster.service.port();
    let set = cluster.api.get("daemonsets", SYSTEM, AGENT);
    let mut launch = launch(&set, Role::Agent(node))?;
    launch.variables.remove("NETPOL_IN_CLUSTER");
    launch.variables.extend(variables([
        ("KUBECONFIG", text(&cluster.kubeconfig(AGENT))),
        ("NODE", format!("{}={namespace}", node.name())),
        ("STATE_DIR", text(&state_directory(cluster, node))),
        ("INSTANCE", lab.tag().to_owned()),
        ("BPFFS", text(&lab.bpffs())),
        ("CNI_CACHE", text(&lab.cni_cache().join("results"))),
        ("AGGREGATOR", format!("https://localhost:{service}")),
        ("AGGREGATOR_CA", text(&cluster.file("ca.crt"))),
        ("AGGREGATOR_TOKEN", text(&cluster.file(&token))),
        ("METRICS_ADDRESS", cluster.agent_probes(node).to_string()),
        ("WALK_INTERVAL", "1s".to_owned()),
        ("HURRY", "10".to_owned()),
    ]));
    Some(launch)
}

/// Where the agent of a node keeps its files.
pub(crate) fn state_directory(cluster: &Cluster, node: Node) -> PathBuf {
    cluster.file(&agent_pod(node))
}

/// What the first container of an object that has pods says; nothing without such an object.
pub(crate) fn launch(object: &Value, role: Role) -> Option<Launch> {
    let container = object["spec"]["template"]["spec"]["containers"].get(0)?;
    let arguments = container["args"].as_array().into_iter().flatten();
    let variables = container["env"].as_array().into_iter().flatten();
    Some(Launch {
        arguments: arguments.map(word).collect(),
        variables: variables
            .map(|variable| (word(&variable["name"]), told(variable, role)))
            .collect(),
    })
}

/// The value of a variable: one that stands there, or one that is a field of the pod.
fn told(variable: &Value, role: Role) -> String {
    if let Some(value) = variable["value"].as_str() {
        return value.to_owned();
    }
    let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
    match (field, role) {
        (Some("metadata.namespace"), _) => SYSTEM.to_owned(),
        (Some("metadata.uid"), Role::Agent(node)) => agent_uid(node),
        (Some("spec.nodeName"), Role::Agent(node)) => node.name().to_owned(),
        _ => panic!("no test knows what {variable} is for {role:?}"),
    }
}

fn variables<const N: usize>(pairs: [(&str, String); N]) -> Vec<(String, String)> {
    let named = pairs.into_iter();
    named
        .map(|(name, value)| (format!("NETPOL_{name}"), value))
        .collect()
}

fn word(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Puts the pod of a process that runs into the API, if it is not there yet as it is to be.
pub(crate) fn make(cluster: &Cluster, role: Role) {
    let Some(name) = name(role) else { return };
    let (of, uid, node, host_network) = match role {
        Role::Agent(node) => (AGENT, agent_uid(node), node, true),
        _ => (AGGREGATOR, format!("uid-of-{name}"), Node::One, false),
    };
    let set = cluster.api.get("daemonsets", SYSTEM, AGENT);
    let arguments = match of == AGENT {
        true => set["spec"]["template"]["spec"]["containers"][0]["args"].clone(),
        false => Value::Null,
    };
    let known = cluster.api.get("pods", SYSTEM, &name);
    if !known.is_null() && known["spec"]["containers"][0]["args"] == arguments {
        return;
    }
    forget(cluster, role);
    let metadata = json!({
        "name": name, "namespace": SYSTEM, "uid": uid, "creationTimestamp": now(),
        "labels": {"app.kubernetes.io/name": of, "app.kubernetes.io/part-of": "netpol"},
    });
    cluster.api.apply(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"nodeName": node.name(), "hostNetwork": host_network,
            "containers": [{"name": "main", "args": arguments}]},
        "status": {
            "phase": "Running", "startTime": now(), "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {}}}],
        },
    }));
}

/// Says that the container of a process's pod has ended well.
pub(crate) fn complete(cluster: &Cluster, role: Role) {
    let Some(name) = name(role) else { return };
    cluster.api.change(("pods", SYSTEM, &name), |pod| {
        let status = &mut pod["status"]["containerStatuses"][0];
        status["state"] = json!({"terminated": {"exitCode": 0}});
    });
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
        Role::Database | Role::Person => None,
    }
}

fn now() -> String {
    let second = Timestamp::now().as_second();
    Timestamp::from_second(second).unwrap().to_string()
}

fn text(path: &Path) -> String {
    PathBuf::from(path).into_os_string().into_string().unwrap()
}
