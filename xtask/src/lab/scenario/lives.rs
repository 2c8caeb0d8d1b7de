//! Steps about pods that come and go.

use anyhow::Result;

use super::cast::{
    self, CACHE_A, CANARY, CHURN, DB, ETL, FRONTEND, LEDGER, MEDIA, MIGRATE, REPORT, STARTER, WEB,
};
use super::stage::{At, Stage};
use super::truth::tcp;
use super::{Step, step};
use crate::lab::pods::PodPlan;
use crate::lab::topology::{Family, Node};

/// The address that the canary's pod leaves to the pods of the Job.
const INHERITED: u8 = 40;

pub(super) const STEPS: &[Step] = &[
    step(
        "a Job whose pods take over another pod's former address",
        inheritance,
        &[
            tcp(CANARY, WEB, 8080, 2),
            tcp(MIGRATE, DB, 6379, 2),
            tcp(MIGRATE, LEDGER, 7000, 1),
        ],
    ),
    step("a CronJob's runs", cron_job, &[tcp(REPORT, DB, 6379, 2)]),
    step(
        "an owner with a new name for every run",
        runs,
        &[tcp(ETL, MEDIA, 20_000, 2)],
    ),
    step(
        "an init container that speaks before the API knows its address",
        init_container,
        &[tcp(STARTER, CACHE_A, 6379, 2)],
    ),
    step(
        "clients that start and stop under traffic",
        churn,
        &[tcp(CHURN, WEB, 8080, 6)],
    ),
    step(
        "a server that starts and stops under traffic",
        replica,
        &[tcp(FRONTEND, WEB, 8080, 30)],
    ),
];

fn inheritance(stage: &mut Stage) -> Result<()> {
    let web = stage.address("web", Family::V4)?;
    let db = stage.address("db-0", Family::V4)?;
    let ledger = stage.address("ledger", Family::V4)?;
    stage.run(
        At::Pod("canary"),
        &format!("tcp --to {web} --ports 8080 --count 2"),
    )?;
    stage.delete("canary")?;
    let first = cast::pod(MIGRATE, Node::One, INHERITED, &[]);
    stage.start("migrate-1", &first)?;
    stage.run(
        At::Pod("migrate-1"),
        &format!("tcp --to {db} --ports 6379 --count 2"),
    )?;
    stage.complete("migrate-1")?;
    let second = PodPlan {
        ordinal: 1,
        ..first
    };
    stage.start("migrate-2", &second)?;
    stage.run(
        At::Pod("migrate-2"),
        &format!("tcp --to {ledger} --ports 7000"),
    )?;
    stage.complete("migrate-2")
}

fn cron_job(stage: &mut Stage) -> Result<()> {
    let db = stage.address("db-1", Family::V4)?;
    for (name, run) in [("report-1", 1), ("report-2", 2)] {
        let plan = PodPlan {
            run,
            ..cast::pod(REPORT, Node::Two, 25, &[])
        };
        stage.start(name, &plan)?;
        stage.run(At::Pod(name), &format!("tcp --to {db} --ports 6379"))?;
        stage.complete(name)?;
    }
    Ok(())
}

fn runs(stage: &mut Stage) -> Result<()> {
    let media = stage.address("media", Family::V4)?;
    for (name, run, address) in [("etl-1", 1, 25), ("etl-2", 2, 26)] {
        let plan = PodPlan {
            run,
            ..cast::pod(ETL, Node::One, address, &[])
        };
        stage.start(name, &plan)?;
        stage.run(At::Pod(name), &format!("tcp --to {media} --ports 20000"))?;
    }
    Ok(())
}

fn init_container(stage: &mut Stage) -> Result<()> {
    let plan = cast::pod(STARTER, Node::Two, 33, &[]);
    stage.create("starter", &plan)?;
    stage.run(
        At::Pod("starter"),
        "tcp --to 10.96.1.3 --ports 6379 --count 2",
    )?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    stage.announce("starter")
}

fn churn(stage: &mut Stage) -> Result<()> {
    for (name, ordinal, node) in [("churn-1", 0, Node::One), ("churn-2", 1, Node::Two)] {
        let address = 50 + u8::from(ordinal == 1);
        let plan = PodPlan {
            ordinal,
            ..cast::pod(CHURN, node, address, &[])
        };
        stage.start(name, &plan)?;
        stage.run(At::Pod(name), "tcp --to 10.96.1.1 --ports 80 --count 3")?;
        stage.delete(name)?;
    }
    Ok(())
}

fn replica(stage: &mut Stage) -> Result<()> {
    let plan = PodPlan {
        ordinal: 1,
        ..cast::pod(cast::WEB, Node::Two, 14, cast::WEB_SERVERS)
    };
    let words = "tcp --to 10.96.1.1 --ports 80 --count 10";
    stage.run(At::Pod("frontend-2"), words)?;
    stage.start("web-2", &plan)?;
    stage.run(At::Pod("frontend-2"), words)?;
    stage.delete("web-2")?;
    stage.run(At::Pod("frontend-2"), words)
}
