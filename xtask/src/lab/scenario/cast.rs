//! The cast: namespaces, workloads, services and the pods that run from the beginning.

use netpol_common::words::Protocol::{Sctp, Tcp, Udp};

use crate::lab::cluster::service::{Service, ServicePort, Target};
use crate::lab::cluster::workload::{Kind, Label, Workload};
use crate::lab::pods::PodPlan;
use crate::lab::process::Server;
use crate::lab::topology::Node;

/// The namespaces: three of applications beside the cluster's own.
pub const NAMESPACES: &[&str] = &["data", "default", "kube-system", "ops", "shop"];

/// Declares workloads and the list of all of them.
macro_rules! workloads {
    ($($(#[$doc:meta])* $constant:ident = $namespace:literal $kind:ident $name:literal $labels:expr, $ports:expr;)*) => {
        $($(#[$doc])*
        pub const $constant: &Workload = &Workload {
            namespace: $namespace,
            kind: Kind::$kind,
            name: $name,
            labels: { const LABELS: &[Label] = &$labels; LABELS },
            ports: &$ports,
            host_network: false,
        };)*
        /// Every workload.
        pub const WORKLOADS: &[Workload] = &[$(*$constant,)* *NODE_EXPORTER];
    };
}

workloads! {
    /// A client with two pods.
    FRONTEND = "shop" Deployment "frontend" [("app", "frontend")], [];
    /// nginx behind services with another port.
    WEB = "shop" Deployment "web" [("app", "web")], [("http", Tcp, 8080)];
    /// One of two workloads behind one service.
    API_V1 = "shop" Deployment "api-v1" [("app", "api"), ("version", "v1")], [("http", Tcp, 9090)];
    /// The other, whose port of the same name has another number.
    API_V2 = "shop" Deployment "api-v2" [("app", "api"), ("version", "v2")], [("http", Tcp, 9091)];
    /// A release of the chart `cache`.
    CACHE_A = "shop" Deployment "cache-a"
        [("app.kubernetes.io/instance", "a"), ("app.kubernetes.io/name", "cache")], [("redis", Tcp, 6379)];
    /// Another release of the same chart.
    CACHE_B = "shop" Deployment "cache-b"
        [("app.kubernetes.io/instance", "b"), ("app.kubernetes.io/name", "cache")], [("redis", Tcp, 6379)];
    /// Redis behind a headless service.
    DB = "data" StatefulSet "db" [("app", "db")], [("redis", Tcp, 6379)];
    /// A contiguous range of ports.
    MEDIA = "data" Deployment "media" [("app", "media")], [];
    /// Ports with gaps.
    LEDGER = "data" Deployment "ledger" [("app", "ledger")], [];
    /// A client of most of what is in `data`.
    WORKER = "data" Deployment "worker" [("app", "worker")], [];
    /// UDP on high ports.
    VOICE = "data" Deployment "voice" [("app", "voice")], [("media", Udp, 40_000)];
    /// UDP that is never answered.
    STATSD = "data" Deployment "statsd" [("app", "statsd")], [("statsd", Udp, 8125)];
    /// UDP answered from another port.
    TFTP = "data" Deployment "tftp" [("app", "tftp")], [];
    /// SCTP.
    SIGNAL = "data" Deployment "signal" [("app", "signal")], [("diameter", Sctp, 3868)];
    /// A workload whose only pod ends and gives up its address.
    CANARY = "data" Deployment "canary" [("app", "canary")], [];
    /// A Job whose pods take over the address of the canary's pod.
    MIGRATE = "data" Job "migrate" [("app", "migrate")], [];
    /// A CronJob, one Job per run.
    REPORT = "data" CronJob "report" [("app", "report")], [];
    /// A custom resource with a name per run.
    ETL = "data" Workflow "etl" [("app", "etl")], [];
    /// A client of nodes, the API server and nodePorts.
    PROM = "ops" Deployment "prom" [("app", "prom")], [];
    /// A port scanner.
    SCANNER = "ops" Deployment "scanner" [("app", "scanner")], [];
    /// A pod that bears another's address.
    SPOOFER = "ops" Bare "spoofer" [("app", "spoofer")], [];
    /// Pods that start and stop under traffic.
    CHURN = "ops" Deployment "churn" [("app", "churn")], [];
    /// A pod whose init container speaks before the API knows its address.
    STARTER = "ops" Deployment "starter" [("app", "starter")], [];
    /// The cluster's DNS.
    COREDNS = "kube-system" Deployment "coredns" [("k8s-app", "kube-dns")],
        [("dns", Udp, 53), ("dns-tcp", Tcp, 53)];
}

/// Pods on their nodes' network.
pub const NODE_EXPORTER: &Workload = &Workload {
    namespace: "ops",
    kind: Kind::DaemonSet,
    name: "node-exporter",
    labels: &[("app", "node-exporter")],
    ports: &[("metrics", Tcp, 9100)],
    host_network: true,
};

/// The services.
pub const SERVICES: &[Service] = &[
    Service {
        endpoints: &["172.30.0.11"],
        ..service(
            "default",
            "kubernetes",
            ["10.96.0.1", "fd00:96::1"],
            &[],
            &[port("https", 443, 6443)],
        )
    },
    service(
        "kube-system",
        "kube-dns",
        ["10.96.0.10", "fd00:96::a"],
        &[("k8s-app", "kube-dns")],
        &[
            ServicePort {
                protocol: Udp,
                ..port("dns", 53, 53)
            },
            port("dns-tcp", 53, 53),
        ],
    ),
    service(
        "shop",
        "web",
        ["10.96.1.1", "fd00:96::1:1"],
        &[("app", "web")],
        &[ServicePort {
            node_port: Some(30_080),
            ..named("http", 80)
        }],
    ),
    Service {
        load_balancer: Some("203.0.113.10"),
        ..service(
            "shop",
            "web-public",
            ["10.96.1.5", "fd00:96::1:5"],
            &[("app", "web")],
            &[named("http", 80)],
        )
    },
    service(
        "shop",
        "api",
        ["10.96.1.2", "fd00:96::1:2"],
        &[("app", "api")],
        &[named("http", 80)],
    ),
    service(
        "shop",
        "cache-a",
        ["10.96.1.3", "fd00:96::1:3"],
        &[
            ("app.kubernetes.io/instance", "a"),
            ("app.kubernetes.io/name", "cache"),
        ],
        &[port("redis", 6379, 6379)],
    ),
    service(
        "shop",
        "cache-b",
        ["10.96.1.4", "fd00:96::1:4"],
        &[
            ("app.kubernetes.io/instance", "b"),
            ("app.kubernetes.io/name", "cache"),
        ],
        &[port("redis", 6379, 6379)],
    ),
    service(
        "shop",
        "ghost",
        ["10.96.1.9", "fd00:96::1:9"],
        &[("app", "ghost")],
        &[port("http", 80, 8080)],
    ),
    Service {
        cluster_ips: None,
        ..service(
            "data",
            "db",
            ["", ""],
            &[("app", "db")],
            &[port("redis", 6379, 6379)],
        )
    },
    service(
        "data",
        "voice",
        ["10.96.2.1", "fd00:96::2:1"],
        &[("app", "voice")],
        &[ServicePort {
            protocol: Udp,
            ..port("media", 4000, 40_000)
        }],
    ),
    service(
        "data",
        "statsd",
        ["10.96.2.2", "fd00:96::2:2"],
        &[("app", "statsd")],
        &[ServicePort {
            protocol: Udp,
            ..port("statsd", 8125, 8125)
        }],
    ),
];

const fn service(
    namespace: &'static str,
    name: &'static str,
    cluster_ips: [&'static str; 2],
    selector: &'static [Label],
    ports: &'static [ServicePort],
) -> Service {
    Service {
        namespace,
        name,
        cluster_ips: Some(cluster_ips),
        load_balancer: None,
        selector,
        ports,
        endpoints: &[],
    }
}

const fn port(name: &'static str, port: u16, target: u16) -> ServicePort {
    ServicePort {
        name,
        protocol: Tcp,
        port,
        target: Target::Number(target),
        node_port: None,
    }
}

const fn named(name: &'static str, port: u16) -> ServicePort {
    ServicePort {
        name,
        protocol: Tcp,
        port,
        target: Target::Name(name),
        node_port: None,
    }
}

/// A pod of the cast.
pub const fn pod(
    workload: &'static Workload,
    node: Node,
    address: u8,
    servers: &'static [Server],
) -> PodPlan {
    PodPlan {
        workload,
        run: 0,
        ordinal: 0,
        node,
        address,
        servers,
    }
}

/// nginx as the pods of [`WEB`] run it.
pub(super) const WEB_SERVERS: &[Server] = &[Server::Nginx(8080)];

/// The pods that run before any traffic, by the name that steps call them by.
pub(super) const PODS: &[(&str, PodPlan)] = &[
    ("coredns", pod(COREDNS, Node::One, 53, &[Server::Dns])),
    ("frontend-1", pod(FRONTEND, Node::One, 10, &[])),
    (
        "frontend-2",
        PodPlan {
            ordinal: 1,
            ..pod(FRONTEND, Node::Two, 10, &[])
        },
    ),
    ("web", pod(WEB, Node::One, 11, WEB_SERVERS)),
    (
        "api-v1",
        pod(API_V1, Node::One, 12, &[Server::Own(&["--tcp", "9090"])]),
    ),
    (
        "api-v2",
        pod(API_V2, Node::Two, 12, &[Server::Own(&["--tcp", "9091"])]),
    ),
    (
        "cache-a",
        pod(CACHE_A, Node::Two, 13, &[Server::Redis(6379)]),
    ),
    (
        "cache-b",
        pod(CACHE_B, Node::One, 13, &[Server::Redis(6379)]),
    ),
    ("db-0", pod(DB, Node::One, 20, &[Server::Redis(6379)])),
    (
        "db-1",
        PodPlan {
            ordinal: 1,
            ..pod(DB, Node::Two, 20, &[Server::Redis(6379)])
        },
    ),
    (
        "media",
        pod(
            MEDIA,
            Node::Two,
            21,
            &[Server::Own(&["--tcp", "20000-20015"])],
        ),
    ),
    (
        "ledger",
        pod(
            LEDGER,
            Node::One,
            21,
            &[Server::Own(&[
                "--tcp",
                "7000,7002,7005",
                "--tcp-reset",
                "7010",
            ])],
        ),
    ),
    ("worker", pod(WORKER, Node::One, 22, &[])),
    (
        "voice",
        pod(
            VOICE,
            Node::Two,
            22,
            &[Server::Own(&["--udp", "40000", "--udp-push", "40001"])],
        ),
    ),
    (
        "statsd",
        pod(
            STATSD,
            Node::Two,
            23,
            &[Server::Own(&["--udp-silent", "8125"])],
        ),
    ),
    (
        "tftp",
        pod(
            TFTP,
            Node::One,
            23,
            &[Server::Own(&["--udp-elsewhere", "6969"])],
        ),
    ),
    (
        "signal",
        pod(SIGNAL, Node::Two, 24, &[Server::Own(&["--sctp", "3868"])]),
    ),
    ("canary", pod(CANARY, Node::One, 40, &[])),
    ("prom", pod(PROM, Node::One, 30, &[])),
    ("scanner", pod(SCANNER, Node::Two, 30, &[])),
    ("spoofer", pod(SPOOFER, Node::One, 31, &[])),
    (
        "node-exporter-1",
        pod(
            NODE_EXPORTER,
            Node::One,
            0,
            &[Server::Own(&["--tcp", "9100"])],
        ),
    ),
    (
        "node-exporter-2",
        PodPlan {
            ordinal: 1,
            ..pod(
                NODE_EXPORTER,
                Node::Two,
                0,
                &[Server::Own(&["--tcp", "9100"])],
            )
        },
    ),
];
