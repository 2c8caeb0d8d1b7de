//! kill -9 of whoever spools and sends, at moments drawn from a printed seed.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::batches::batch;
use crate::server::{Authority, Fault, Server};
use crate::world::{Files, in_order};

/// Where the child works, and where it sends.
const DIRECTORY: &str = "NETPOL_TEST_UPLINK_DIRECTORY";
const PORT: &str = "NETPOL_TEST_UPLINK_PORT";
const NEXT: &str = "NETPOL_TEST_UPLINK_NEXT";
/// How often it is killed.
const MOMENTS: usize = 24;
/// The latest moment, in milliseconds after it has begun to spool.
const LATEST: u64 = 400;

/// The child: spools without end, saying each number once the spool has it, and sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(directory) = env::var(DIRECTORY) else {
        return;
    };
    let read = |name: &str| env::var(name).unwrap().parse::<u64>().unwrap();
    let files = Files(PathBuf::from(directory));
    let link = files.open();
    let sender = files.sender(&link, u16::try_from(read(PORT)).unwrap());
    tokio::spawn(sender.run(CancellationToken::new()));
    let mut next = read(NEXT);
    loop {
        link.push(&batch(next, 20)).unwrap();
        let mut out = std::io::stderr();
        writeln!(out, "spooled {next}").unwrap();
        next += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn start(directory: &std::path::Path, port: u16, next: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(PORT, port.to_string())
        .env(NEXT, next.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets the child run for so long after its first word, kills it, and returns the last number that the spool has.
fn run_and_kill(mut child: Child, moment: Duration, last: u64) -> u64 {
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let number = |line: String| {
        line.strip_prefix("spooled ")
            .map(|text| text.parse().unwrap())
    };
    let mut last: u64 = said
        .by_ref()
        .map_while(Result::ok)
        .find_map(number)
        .unwrap_or(last);
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in said.map_while(Result::ok) {
        last = number(line).unwrap_or(last);
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_spooled_is_lost_whenever_the_process_is_killed() {
    let seed = env::var("NETPOL_TEST_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("NETPOL_TEST_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let files = Files(directory.path().to_owned());
    let authority = Authority::new();
    fs::write(files.token(), "token").unwrap();
    fs::write(files.authority(), authority.pem()).unwrap();
    let server = Server::start(&authority);
    let mut last = 0;
    for _ in 0..MOMENTS {
        if chance.bool() {
            let fault = [
                Fault::Cut,
                Fault::Status(503, Some("0")),
                Fault::Late(Duration::from_millis(100)),
            ];
            server.with(|seen| seen.faults.push_back(fault[chance.usize(..3)].clone()));
        }
        let moment = Duration::from_millis(chance.u64(..LATEST));
        let child = start(directory.path(), server.address.port(), last + 1);
        let run = move || run_and_kill(child, moment, last);
        last = tokio::task::spawn_blocking(run).await.unwrap();
    }
    let link = files.open();
    let stop = CancellationToken::new();
    let sender = files.sender(&link, server.address.port());
    let sending = tokio::spawn(sender.run(stop.clone()));
    while link.status().spool.batches > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    sending.await.unwrap();
    let arrived = server.with(|seen| seen.batches.clone());
    let arrived = in_order(&arrived);
    // The last one may have been spooled without having been said.
    let numbers: Vec<u64> = arrived.iter().map(|batch| batch.sequence).collect();
    let all: Vec<u64> = (1..=last.max(numbers.len() as u64)).collect();
    assert_eq!(numbers, all);
    assert!(
        numbers.len() as u64 >= last && last > MOMENTS as u64,
        "{last}"
    );
    for (number, batch_arrived) in all.iter().zip(&arrived) {
        assert_eq!(batch_arrived, &batch(*number, 20));
    }
}
