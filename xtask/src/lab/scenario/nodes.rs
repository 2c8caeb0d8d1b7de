//! Steps about what is not a pod: nodes and the world outside.

use anyhow::Result;

use super::cast::{API_V1, FRONTEND, LEDGER, PROM, WORKER};
use super::stage::{At, Stage};
use super::truth::{Expected, Who, inward, outward, tcp};
use super::{Phase, Step, step};
use crate::lab::topology::{EXTERNAL_SERVER, Family, Node};

pub(super) const STEPS: &[Step] = &[
    Step {
        phase: Phase::Before,
        // It changes how packets travel and nothing of what is true.
        ..step("a bridge that floods", flood, &[])
    },
    step(
        "traffic that a bridge floods",
        flooded,
        &[tcp(FRONTEND, API_V1, 9090, 5)],
    ),
    step(
        "an external server, IPv4 and IPv6",
        external_server,
        &[
            outward(WORKER, Who::External(EXTERNAL_SERVER[0]), 443, 2),
            outward(WORKER, Who::External(EXTERNAL_SERVER[1]), 443, 1),
        ],
    ),
    step(
        "a peer on its node's network",
        host_network,
        &[
            outward(PROM, Who::Node(Node::One), 9100, 1),
            outward(PROM, Who::Node(Node::Two), 9100, 1),
        ],
    ),
    step(
        "a probe from the pod's own node",
        own_probe,
        &[Expected {
            own_node: true,
            ..inward(Who::Node(Node::One), API_V1, 9090, 2)
        }],
    ),
    step(
        "a probe from the other node",
        other_probe,
        &[inward(Who::Node(Node::Two), LEDGER, 7000, 2)],
    ),
];

fn flood(stage: &mut Stage) -> Result<()> {
    stage.flood("api-v1")
}

fn flooded(stage: &mut Stage) -> Result<()> {
    let api = stage.address("api-v1", Family::V4)?;
    stage.run(
        At::Pod("frontend-1"),
        &format!("tcp --to {api} --ports 9090 --count 5"),
    )
}

fn external_server(stage: &mut Stage) -> Result<()> {
    let [v4, v6] = EXTERNAL_SERVER;
    stage.run(
        At::Pod("worker"),
        &format!("tcp --to {v4} --ports 443 --count 2"),
    )?;
    stage.run(At::Pod("worker"), &format!("tcp --to {v6} --ports 443"))
}

fn host_network(stage: &mut Stage) -> Result<()> {
    stage.run(At::Pod("prom"), "tcp --to 172.30.0.11 --ports 9100")?;
    stage.run(At::Pod("prom"), "tcp --to 172.30.0.12 --ports 9100")
}

fn own_probe(stage: &mut Stage) -> Result<()> {
    let api = stage.address("api-v1", Family::V4)?;
    stage.run(
        At::Node(Node::One),
        &format!("tcp --to {api} --ports 9090 --count 2"),
    )
}

fn other_probe(stage: &mut Stage) -> Result<()> {
    let ledger = stage.address("ledger", Family::V4)?;
    stage.run(
        At::Node(Node::Two),
        &format!("tcp --to {ledger} --ports 7000 --count 2"),
    )
}
