//! Steps about what must not become a rule: scans, false addresses, attempts that lead nowhere.

use std::time::Instant;

use anyhow::Result;
use netpol_common::words::Outcome;

use super::cast::{LEDGER, SCANNER, VOICE, WEB};
use super::stage::{At, Stage};
use super::truth::{Expected, Who, outward, tcp, udp};
use super::{Step, step};
use crate::lab::topology::{EXTERNAL_SILENT, Family};

pub(super) const STEPS: &[Step] = &[
    step(
        "attempts that nobody answers",
        unanswered,
        &[
            Expected {
                outcome: Outcome::Unanswered,
                ..outward(SCANNER, Who::External(EXTERNAL_SILENT), 81, 1)
            },
            Expected {
                outcome: Outcome::Unanswered,
                ..tcp(SCANNER, LEDGER, 7999, 1)
            },
        ],
    ),
    step(
        "a TCP port scanner",
        tcp_scan,
        &[
            Expected {
                ports: (8000, 8079),
                outcome: Outcome::Refused,
                ..tcp(SCANNER, WEB, 0, 1)
            },
            tcp(SCANNER, WEB, 8080, 1),
            Expected {
                ports: (8081, 8127),
                outcome: Outcome::Refused,
                ..tcp(SCANNER, WEB, 0, 1)
            },
        ],
    ),
    step(
        "a UDP port scanner",
        udp_scan,
        &[Expected {
            ports: (41_000, 41_031),
            outcome: Outcome::Refused,
            ..udp(SCANNER, VOICE, 0, 1)
        }],
    ),
    // The node drops what cannot come from there; the pod's interface has seen it by then.
    step("a pod that bears another's address", spoof, &[]),
];

fn unanswered(stage: &mut Stage) -> Result<()> {
    stage.drop_port("ledger", 7999)?;
    let ledger = stage.address("ledger", Family::V4)?;
    for (to, port) in [(EXTERNAL_SILENT, 81), (&*ledger.to_string(), 7999)] {
        let words = format!("tcp --to {to} --ports {port} --expect unanswered");
        stage.run(At::Pod("scanner"), &words)?;
    }
    stage.last_unanswered = Some(Instant::now());
    Ok(())
}

fn tcp_scan(stage: &mut Stage) -> Result<()> {
    let web = stage.address("web", Family::V4)?;
    let scan = format!("tcp --to {web} --ports");
    stage.run(
        At::Pod("scanner"),
        &format!("{scan} 8000-8079,8081-8127 --expect refused"),
    )?;
    stage.run(At::Pod("scanner"), &format!("{scan} 8080 --close reset"))
}

fn udp_scan(stage: &mut Stage) -> Result<()> {
    let voice = stage.address("voice", Family::V4)?;
    let words = format!("udp --to {voice} --ports 41000-41031 --expect refused");
    stage.run(At::Pod("scanner"), &words)
}

fn spoof(stage: &mut Stage) -> Result<()> {
    let victim = stage.address("scanner", Family::V4)?;
    let (api, voice) = (
        stage.address("api-v2", Family::V4)?,
        stage.address("voice", Family::V4)?,
    );
    for (transport, to) in [
        ("tcp", format!("{api}:9091")),
        ("udp", format!("{voice}:40000")),
    ] {
        let words = format!("spoof --source {victim} --to {to} --transport {transport} --count 5");
        stage.run(At::Pod("spoofer"), &words)?;
    }
    Ok(())
}
