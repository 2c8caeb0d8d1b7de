//! Objects of the cluster as the API server writes them, with all that netpol does not read.

use jiff::Timestamp;

use super::world::{
    OWN, REPLICAS, World, address, agent_name, agent_uid, namespace, node_address, node_name,
    pod_name, pod_uid, set_name, workload_name,
};

/// How far a pod has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Not scheduled.
    Pending,
    /// On a node, without an address.
    Starting,
    Running,
    /// Told to end.
    Ending,
}

/// A pod at some time of its life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pod {
    pub(crate) number: usize,
    pub(crate) generation: u8,
    pub(crate) phase: Phase,
    pub(crate) created: Timestamp,
}

const POD_FIELDS: &str = r#""managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-02-02T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/name":{},"f:app.kubernetes.io/version":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"00000000\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"LOG_LEVEL\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{},"f:successThreshold":{},"f:timeoutSeconds":{}},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":8001,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},"f:resources":{".":{},"f:limits":{".":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}},{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2026-02-02T00:00:07Z","fieldsType":"FieldsV1","subresource":"status","fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}}]"#;

const POD_SPEC: &str = r#""volumes":[{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],"containers":[{"name":"main","image":"registry.example/team/service@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","ports":[{"name":"http","containerPort":8001,"protocol":"TCP"}],"env":[{"name":"LOG_LEVEL","value":"info"}],"resources":{"limits":{"memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority""#;

const POD_STATUS: &str = r#""conditions":[{"type":"PodReadyToStartContainers","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-02-02T00:00:03Z"},{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-02-02T00:00:00Z"},{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-02-02T00:00:07Z"},{"type":"ContainersReady","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-02-02T00:00:07Z"},{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-02-02T00:00:00Z"}],"containerStatuses":[{"name":"main","state":{"running":{"startedAt":"2026-02-02T00:00:03Z"}},"lastState":{},"ready":true,"restartCount":0,"image":"registry.example/team/service:1.2.3","imageID":"registry.example/team/service@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","containerID":"containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","started":true}],"qosClass":"Burstable""#;

const TEMPLATE: &str = r#""spec":{"containers":[{"name":"main","image":"registry.example/team/service@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","ports":[{"name":"http","containerPort":8001,"protocol":"TCP"}],"env":[{"name":"LOG_LEVEL","value":"info"}],"resources":{"limits":{"memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}"#;

/// The names of a node's images, of which there may be 50.
const IMAGES: usize = 20;

fn labels(workload: usize) -> String {
    let name = workload_name(workload);
    format!(
        r#""app.kubernetes.io/instance":"{name}","app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/name":"{name}","app.kubernetes.io/version":"1.2.3""#
    )
}

pub(crate) fn pod(world: &World, pod: Pod) -> String {
    let Pod {
        number,
        generation,
        phase,
        created,
    } = pod;
    let workload = number / REPLICAS;
    let (name, space, set) = (
        pod_name(number, generation),
        namespace(workload),
        set_name(workload),
    );
    let (uid, set_uid, labels) = (
        pod_uid(number, generation),
        set_uid(workload),
        labels(workload),
    );
    let node = match phase {
        Phase::Pending => String::new(),
        _ => format!(r#""nodeName":"{}","#, node_name(world.node(number))),
    };
    let ending = match phase {
        Phase::Ending => format!(
            r#""deletionTimestamp":"{}","deletionGracePeriodSeconds":30,"#,
            second(Timestamp::now())
        ),
        _ => String::new(),
    };
    let status = match phase {
        Phase::Pending | Phase::Starting => {
            r#""phase":"Pending","qosClass":"Burstable""#.to_owned()
        }
        Phase::Running | Phase::Ending => {
            let (address, host) = (
                address(number, generation),
                node_address(world.node(number)),
            );
            let started = second(created);
            format!(
                r#""phase":"Running","hostIP":"{host}","hostIPs":[{{"ip":"{host}"}}],"podIP":"{address}","podIPs":[{{"ip":"{address}"}}],"startTime":"{started}",{POD_STATUS}"#
            )
        }
    };
    let created = second(created);
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","generateName":"{set}-","namespace":"{space}","uid":"{uid}","resourceVersion":"12345678","creationTimestamp":"{created}",{ending}"labels":{{{labels},"pod-template-hash":"5d8c7b"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"{set}","uid":"{set_uid}","controller":true,"blockOwnerDeletion":true}}],{POD_FIELDS}}},"spec":{{{node}{POD_SPEC}}},"status":{{{status}}}}}"#
    )
}

/// The pod of a node's agent.
pub(crate) fn agent(world: &World, node: usize) -> String {
    let (name, uid, host) = (agent_name(node), agent_uid(node), node_name(node));
    let (address, created) = (node_address(node), second(world.began));
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","generateName":"netpol-agent-","namespace":"{OWN}","uid":"{uid}","resourceVersion":"12345678","creationTimestamp":"{created}","labels":{{"app.kubernetes.io/name":"netpol-agent","controller-revision-hash":"6b9f","pod-template-generation":"1"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"DaemonSet","name":"netpol-agent","uid":"00000000-0000-4000-b000-000000000001","controller":true}}],{POD_FIELDS}}},"spec":{{"nodeName":"{host}","hostNetwork":true,{POD_SPEC}}},"status":{{"phase":"Running","hostIP":"{address}","podIP":"{address}","podIPs":[{{"ip":"{address}"}}],"startTime":"{created}",{POD_STATUS}}}}}"#
    )
}

pub(crate) fn node(world: &World, node: usize) -> String {
    let (name, address, created) = (node_name(node), node_address(node), second(world.began));
    let image = r#"{"names":["registry.example/team/service@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","registry.example/team/service:1.2.3"],"sizeBytes":123456789}"#;
    let images = vec![image; IMAGES].join(",");
    format!(
        r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}","uid":"00000000-0000-4000-c000-{node:012}","resourceVersion":"1","creationTimestamp":"{created}","labels":{{"kubernetes.io/hostname":"{name}","kubernetes.io/os":"linux","topology.kubernetes.io/zone":"a"}}}},"spec":{{"podCIDR":"10.240.0.0/24","providerID":"example://{name}"}},"status":{{"capacity":{{"cpu":"16","memory":"64Gi","pods":"110"}},"conditions":[{{"type":"Ready","status":"True","lastHeartbeatTime":"{created}","lastTransitionTime":"{created}","reason":"KubeletReady","message":"kubelet is posting ready status"}}],"addresses":[{{"type":"InternalIP","address":"{address}"}},{{"type":"Hostname","address":"{name}"}}],"images":[{images}]}}}}"#
    )
}

pub(crate) fn deployment(world: &World, workload: usize) -> String {
    let (name, space, labels) = (
        workload_name(workload),
        namespace(workload),
        labels(workload),
    );
    let created = second(world.began);
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{name}","namespace":"{space}","uid":"{}","resourceVersion":"1","creationTimestamp":"{created}","labels":{{{labels}}}}},"spec":{{"replicas":{REPLICAS},"selector":{{"matchLabels":{{"app.kubernetes.io/instance":"{name}","app.kubernetes.io/name":"{name}"}}}},"template":{{"metadata":{{"labels":{{{labels}}}}},{TEMPLATE}}},"strategy":{{"type":"RollingUpdate"}}}},"status":{{"replicas":{REPLICAS},"readyReplicas":{REPLICAS}}}}}"#,
        deployment_uid(workload)
    )
}

/// A ReplicaSet's metadata.
pub(crate) fn replica_set(world: &World, workload: usize) -> String {
    let (name, set, space, labels) = (
        workload_name(workload),
        set_name(workload),
        namespace(workload),
        labels(workload),
    );
    let (uid, owner, created) = (
        set_uid(workload),
        deployment_uid(workload),
        second(world.began),
    );
    format!(
        r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{{"name":"{set}","namespace":"{space}","uid":"{uid}","resourceVersion":"1","creationTimestamp":"{created}","labels":{{{labels},"pod-template-hash":"5d8c7b"}},"annotations":{{"deployment.kubernetes.io/desired-replicas":"10","deployment.kubernetes.io/revision":"1"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"Deployment","name":"{name}","uid":"{owner}","controller":true}}]}}}}"#
    )
}

pub(crate) fn service(world: &World, workload: usize) -> String {
    let (name, space, labels) = (
        workload_name(workload),
        namespace(workload),
        labels(workload),
    );
    let address = std::net::Ipv4Addr::from(0x6440_0000 + workload as u32);
    let created = second(world.began);
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}","namespace":"{space}","uid":"00000000-0000-4000-d000-{workload:012}","resourceVersion":"1","creationTimestamp":"{created}","labels":{{{labels}}}}},"spec":{{"type":"ClusterIP","clusterIP":"{address}","clusterIPs":["{address}"],"selector":{{"app.kubernetes.io/instance":"{name}"}},"ports":[{{"name":"http","protocol":"TCP","port":80,"targetPort":"http"}}],"sessionAffinity":"None"}},"status":{{"loadBalancer":{{}}}}}}"#
    )
}

/// The only slice of a workload's service; `generation` tells that of each pod.
pub(crate) fn slice(world: &World, workload: usize, generation: impl Fn(usize) -> u8) -> String {
    let (name, space) = (workload_name(workload), namespace(workload));
    let created = second(world.began);
    let pods = workload * REPLICAS..((workload + 1) * REPLICAS).min(world.pods);
    let endpoints = pods.map(|pod| {
        let generation = generation(pod);
        format!(
            r#"{{"addresses":["{}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"targetRef":{{"kind":"Pod","namespace":"{space}","name":"{}","uid":"{}"}},"nodeName":"{}","zone":"a"}}"#,
            address(pod, generation),
            pod_name(pod, generation),
            pod_uid(pod, generation),
            node_name(world.node(pod)),
        )
    });
    let endpoints = endpoints.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"{name}-abcde","namespace":"{space}","uid":"00000000-0000-4000-e000-{workload:012}","resourceVersion":"1","creationTimestamp":"{created}","labels":{{"kubernetes.io/service-name":"{name}"}}}},"addressType":"IPv4","endpoints":[{endpoints}],"ports":[{{"name":"http","protocol":"TCP","port":8001}}]}}"#
    )
}

pub(crate) fn space(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}","uid":"uid-of-{name}","resourceVersion":"1","labels":{{"kubernetes.io/metadata.name":"{name}"}}}},"spec":{{"finalizers":["kubernetes"]}},"status":{{"phase":"Active"}}}}"#
    )
}

fn set_uid(workload: usize) -> String {
    format!("00000000-0000-4000-f000-{workload:012}")
}

fn deployment_uid(workload: usize) -> String {
    format!("00000000-0000-4000-a000-{workload:012}")
}

/// A time in whole seconds, as Kubernetes writes them.
fn second(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or_default();
    whole.to_string()
}
