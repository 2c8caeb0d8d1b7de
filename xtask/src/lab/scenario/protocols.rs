//! Steps about ports, protocols and how connections begin and end.

use anyhow::Result;
use netpol_common::words::{Outcome, Protocol};

use super::cast::{
    API_V2, CACHE_B, DB, FRONTEND, LEDGER, MEDIA, PROM, SIGNAL, STATSD, TFTP, VOICE, WORKER,
};
use super::stage::{At, Stage};
use super::truth::{Expected, Seen, tcp, udp};
use super::{Phase, Step, minute, step};
use crate::lab::topology::Family;

/// How many connections a burst is made of.
const BURST: u64 = 1000;

/// A one-way UDP edge.
const fn one_way(
    client: &'static crate::lab::cluster::workload::Workload,
    server: &'static crate::lab::cluster::workload::Workload,
    port: u16,
    times: u64,
) -> Expected {
    Expected {
        outcome: Outcome::OneWay,
        ..udp(client, server, port, times)
    }
}

pub(super) const STEPS: &[Step] = &[
    Step {
        phase: Phase::Before,
        ..step(
            "a connection older than the agent, idle and long",
            idle,
            &[tcp(WORKER, DB, 6379, 1)],
        )
    },
    Step {
        phase: Phase::Before,
        ..step(
            "a connection older than the agent, in use",
            busy,
            &[tcp(FRONTEND, CACHE_B, 6379, 1)],
        )
    },
    Step {
        phase: Phase::Before,
        ..step(
            "a UDP conversation older than the agent, whose server goes on by itself",
            conversation,
            &[Expected {
                client_view: Seen::Some,
                server_view: Seen::Some,
                ..udp(WORKER, VOICE, 40_001, 1)
            }],
        )
    },
    step(
        "UDP that nobody answers",
        statsd_first,
        &[one_way(FRONTEND, STATSD, 8125, 3)],
    ),
    step(
        "a contiguous range of ports",
        range,
        &[Expected {
            ports: (20_000, 20_015),
            ..tcp(WORKER, MEDIA, 0, 1)
        }],
    ),
    step(
        "ports with gaps",
        gaps,
        &[
            tcp(WORKER, LEDGER, 7000, 2),
            tcp(WORKER, LEDGER, 7002, 2),
            tcp(WORKER, LEDGER, 7005, 2),
        ],
    ),
    step(
        "a server that answers from another port",
        elsewhere,
        &[
            one_way(WORKER, TFTP, 6969, 2),
            one_way(TFTP, WORKER, 33_069, 2),
        ],
    ),
    step(
        "SCTP",
        sctp,
        &[
            Expected {
                protocol: Protocol::Sctp,
                ..tcp(WORKER, SIGNAL, 3868, 2)
            },
            Expected {
                protocol: Protocol::Sctp,
                outcome: Outcome::Refused,
                ..tcp(WORKER, SIGNAL, 3869, 1)
            },
        ],
    ),
    step(
        "connections closed by a reset of either side",
        resets,
        &[tcp(PROM, LEDGER, 7005, 2), tcp(PROM, LEDGER, 7010, 2)],
    ),
    step(
        "a burst of short connections",
        burst,
        &[tcp(WORKER, API_V2, 9091, BURST)],
    ),
    Step {
        phase: Phase::Late,
        ..step(
            "UDP that nobody answers, again in another minute",
            statsd,
            &[one_way(FRONTEND, STATSD, 8125, 3)],
        )
    },
];

fn idle(stage: &mut Stage) -> Result<()> {
    let db = stage.address("db-1", Family::V4)?;
    stage.keep(At::Pod("worker"), &format!("hold --to {db}:6379"))
}

fn busy(stage: &mut Stage) -> Result<()> {
    stage.keep(
        At::Pod("frontend-2"),
        "hold --to 10.96.1.4:6379 --every 300",
    )
}

fn conversation(stage: &mut Stage) -> Result<()> {
    let voice = stage.address("voice", Family::V4)?;
    stage.keep(
        At::Pod("worker"),
        &format!("udp --to {voice} --ports 40001 --count 2 --hold"),
    )
}

fn statsd_first(stage: &mut Stage) -> Result<()> {
    statsd(stage)?;
    stage.one_way_minute = Some(minute());
    Ok(())
}

fn statsd(stage: &mut Stage) -> Result<()> {
    let words = "udp --to 10.96.2.2 --ports 8125 --count 3 --expect silence";
    stage.run(At::Pod("frontend-1"), words)
}

fn range(stage: &mut Stage) -> Result<()> {
    let media = stage.address("media", Family::V4)?;
    stage.run(
        At::Pod("worker"),
        &format!("tcp --to {media} --ports 20000-20015"),
    )
}

fn gaps(stage: &mut Stage) -> Result<()> {
    let ledger = stage.address("ledger", Family::V4)?;
    stage.run(
        At::Pod("worker"),
        &format!("tcp --to {ledger} --ports 7000,7002,7005 --count 2"),
    )
}

fn elsewhere(stage: &mut Stage) -> Result<()> {
    let tftp = stage.address("tftp", Family::V4)?;
    let words = format!("udp --to {tftp} --ports 6969 --count 2 --from-port 33069 --unconnected");
    stage.run(At::Pod("worker"), &words)
}

fn sctp(stage: &mut Stage) -> Result<()> {
    let signal = stage.address("signal", Family::V4)?;
    stage.run(
        At::Pod("worker"),
        &format!("sctp --to {signal} --port 3868 --count 2"),
    )?;
    stage.run(
        At::Pod("worker"),
        &format!("sctp --to {signal} --port 3869 --expect refused"),
    )
}

fn resets(stage: &mut Stage) -> Result<()> {
    let ledger = stage.address("ledger", Family::V4)?;
    let client = format!("tcp --to {ledger} --ports 7005 --count 2 --close reset");
    stage.run(At::Pod("prom"), &client)?;
    let server = format!("tcp --to {ledger} --ports 7010 --count 2 --close await");
    stage.run(At::Pod("prom"), &server)
}

fn burst(stage: &mut Stage) -> Result<()> {
    let api = stage.address("api-v2", Family::V4)?;
    stage.run(
        At::Pod("worker"),
        &format!("tcp --to {api} --ports 9091 --count {BURST}"),
    )
}
