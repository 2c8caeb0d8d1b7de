//! Steps about services: every way to reach a workload by another address than its own.

use anyhow::Result;
use netpol_common::words::Protocol;

use super::cast::{API_V1, API_V2, CACHE_A, CACHE_B, COREDNS, DB, FRONTEND, PROM, WEB, WORKER};
use super::stage::{At, Stage};
use super::truth::{Expected, Nobody, Seen, Who, inward, outward, tcp, udp};
use super::{Step, step};
use crate::lab::topology::{EXTERNAL_CLIENT, Family, Node};

pub(super) const STEPS: &[Step] = &[
    step(
        "a service by ClusterIP with another target port, IPv4 and IPv6",
        cluster_ip,
        &[tcp(FRONTEND, WEB, 8080, 10)],
    ),
    step(
        "a service over two workloads whose port of one name differs",
        two_workloads,
        &[
            // The client's interface sees only that the service was meant.
            Expected {
                client_view: Seen::Some,
                ..tcp(FRONTEND, API_V1, 9090, 2)
            },
            Expected {
                client_view: Seen::Some,
                ..tcp(FRONTEND, API_V2, 9091, 2)
            },
        ],
    ),
    // Nobody is behind it, so there is no edge: the attempt is refused and stays unresolved.
    Step {
        unresolved: &[Nobody {
            service: ("shop", "ghost"),
            port: 80,
        }],
        ..step("a service without endpoints", no_endpoints, &[])
    },
    step(
        "a headless service",
        headless,
        &[tcp(FRONTEND, DB, 6379, 2)],
    ),
    step(
        "a NodePort through the other node",
        node_port,
        &[
            Expected {
                real_client_unseen: true,
                ..inward(Who::Node(Node::Two), WEB, 8080, 3)
            },
            Expected {
                server_view: Seen::Not,
                ..tcp(PROM, WEB, 8080, 1)
            },
        ],
    ),
    step(
        "a pod that reaches itself through its service",
        hairpin,
        &[
            // Its one interface sees it leave; that stands for both views.
            tcp(WEB, WEB, 8080, 2),
            // The node masquerades the packets that it sends back.
            Expected {
                own_node: true,
                real_client_unseen: true,
                ..inward(Who::Node(Node::One), WEB, 8080, 2)
            },
        ],
    ),
    step(
        "kubernetes.default, backed by a node's address",
        kubernetes,
        &[outward(PROM, Who::ApiServer, 6443, 2)],
    ),
    step(
        "DNS over UDP and TCP",
        dns,
        &[
            udp(FRONTEND, COREDNS, 53, 3),
            tcp(FRONTEND, COREDNS, 53, 1),
            udp(WORKER, COREDNS, 53, 2),
        ],
    ),
    step(
        "a load balancer's address from outside",
        load_balancer,
        &[inward(Who::External(EXTERNAL_CLIENT[0]), WEB, 8080, 2)],
    ),
    step(
        "two releases of one chart",
        releases,
        &[
            tcp(FRONTEND, CACHE_A, 6379, 2),
            tcp(WORKER, CACHE_B, 6379, 2),
        ],
    ),
    step(
        "a high UDP port behind a service, from a lower port",
        high_udp_port,
        &[Expected {
            protocol: Protocol::Udp,
            ..tcp(WORKER, super::cast::VOICE, 40_000, 5)
        }],
    ),
];

fn cluster_ip(stage: &mut Stage) -> Result<()> {
    stage.run(
        At::Pod("frontend-1"),
        "tcp --to 10.96.1.1 --ports 80 --count 4",
    )?;
    stage.run(
        At::Pod("frontend-2"),
        "tcp --to 10.96.1.1 --ports 80 --count 3",
    )?;
    stage.run(
        At::Pod("frontend-1"),
        "tcp --to fd00:96::1:1 --ports 80 --count 2",
    )?;
    stage.run(At::Pod("frontend-2"), "tcp --to fd00:96::1:1 --ports 80")
}

fn two_workloads(stage: &mut Stage) -> Result<()> {
    stage.run(
        At::Pod("frontend-1"),
        "tcp --to 10.96.1.2 --ports 80 --count 4",
    )
}

fn no_endpoints(stage: &mut Stage) -> Result<()> {
    let words = "tcp --to 10.96.1.9 --ports 80 --count 2 --expect refused";
    stage.run(At::Pod("frontend-1"), words)
}

fn headless(stage: &mut Stage) -> Result<()> {
    let db = stage.address("db-0", Family::V4)?;
    stage.run(
        At::Pod("frontend-1"),
        &format!("tcp --to {db} --ports 6379 --count 2"),
    )
}

fn node_port(stage: &mut Stage) -> Result<()> {
    let source = EXTERNAL_CLIENT[0];
    let words = format!("tcp --to 172.30.0.12 --ports 30080 --count 2 --source {source}");
    stage.run(At::External, &words)?;
    stage.run(At::Pod("prom"), "tcp --to 172.30.0.12 --ports 30080")
}

fn hairpin(stage: &mut Stage) -> Result<()> {
    stage.run(At::Pod("web"), "tcp --to 10.96.1.1 --ports 80 --count 2")
}

fn kubernetes(stage: &mut Stage) -> Result<()> {
    stage.run(At::Pod("prom"), "tcp --to 10.96.0.1 --ports 443 --count 2")
}

fn dns(stage: &mut Stage) -> Result<()> {
    let ask = "dns --server 10.96.0.10 --name web.shop.svc.cluster.local";
    stage.run(At::Pod("frontend-1"), &format!("{ask} --count 3"))?;
    stage.run(At::Pod("frontend-1"), &format!("{ask} --tcp"))?;
    stage.run(At::Pod("worker"), &format!("{ask} --count 2"))
}

fn load_balancer(stage: &mut Stage) -> Result<()> {
    let source = EXTERNAL_CLIENT[0];
    let words = format!("tcp --to 203.0.113.10 --ports 80 --count 2 --source {source}");
    stage.run(At::External, &words)
}

fn releases(stage: &mut Stage) -> Result<()> {
    stage.run(
        At::Pod("frontend-1"),
        "tcp --to 10.96.1.3 --ports 6379 --count 2",
    )?;
    stage.run(
        At::Pod("worker"),
        "tcp --to 10.96.1.4 --ports 6379 --count 2",
    )
}

fn high_udp_port(stage: &mut Stage) -> Result<()> {
    let voice = stage.address("voice", Family::V6)?;
    let words = "udp --to 10.96.2.1 --ports 4000 --count 3 --from-port 1030";
    stage.run(At::Pod("worker"), words)?;
    stage.run(
        At::Pod("worker"),
        &format!("udp --to {voice} --ports 40000 --count 2"),
    )
}
