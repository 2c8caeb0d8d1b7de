//! An agent in a process of its own, which can be killed.

use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use netpol_agent::node::attach::{Attacher, Mechanism, Options, PinRoot, Programs};

use super::bpf;
use super::lab::Lab;
use super::{EPOCH, INSTANCE};

/// A process that has adopted, then attached, and holds on.
pub(crate) struct Agent {
    process: Child,
    /// Kept open: the test harness of the process writes to it at its end.
    output: Lines<BufReader<ChildStdout>>,
}

const TASK: &str = "NETPOL_TEST_ATTACH";

impl Agent {
    /// Starts an agent that attaches with `mechanism` to the lab's veth, whose handle is `interface`. Returns when it
    /// has.
    pub(crate) fn start(lab: &Lab, mechanism: Mechanism, interface: u32) -> Self {
        Self::start_with(lab, mechanism, interface, "")
    }

    /// As [`Self::start`], and to be killed at a point of going before others, if it names one: what it begins once
    /// [`Self::stop`] is called.
    pub(crate) fn start_with(lab: &Lab, mechanism: Mechanism, interface: u32, die: &str) -> Self {
        let task = format!(
            "{mechanism} {} {interface} {}",
            lab.ifindex(),
            lab.bpffs().display()
        );
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "support::child::agent",
                "--ignored",
                "--nocapture",
            ])
            .env(TASK, task)
            .env("NETPOL_TEST_DIE_AT", die)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let mut agent = Self {
            process,
            output: BufReader::new(output).lines(),
        };
        let ready = agent.output.any(|line| line.unwrap().contains("attached"));
        assert!(ready, "the other process did not attach");
        agent
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets it go before others, and waits until it is killed at the point that it was started with.
    pub(crate) fn die(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    }

    /// Lets it end by itself: its attacher is closed.
    pub(crate) fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended before, unless the test failed.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[test]
#[ignore = "the body of the processes that the other tests start"]
fn agent() {
    let task = std::env::var(TASK).unwrap();
    let [mechanism, ifindex, interface, bpffs] =
        task.splitn(4, ' ').collect::<Vec<_>>().try_into().unwrap();
    let bpffs = PathBuf::from(bpffs);
    let instance = INSTANCE.parse().unwrap();
    let options = Options {
        mechanism: if mechanism == "TCX" {
            Mechanism::Tcx
        } else {
            Mechanism::Clsact
        },
        pins: Some(PinRoot::new(&bpffs, &instance)),
        instance,
        abi_version: 1,
        epoch: EPOCH,
    };
    let programs = || {
        let load = |side| bpf::load_counter(&bpf::open_pin(&bpffs.join(side)), bpf::NEXT);
        let [from_pod, to_pod] = ["in", "out"].map(load);
        Programs { from_pod, to_pod }
    };
    let mut attacher = Attacher::new(options, programs()).unwrap();
    attacher.set_spare(programs());
    attacher.adopt().unwrap();
    attacher
        .attach(ifindex.parse().unwrap(), interface.parse().unwrap())
        .unwrap();
    println!("attached");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    if std::env::var("NETPOL_TEST_DIE_AT").is_ok_and(|point| !point.is_empty()) {
        attacher.verify();
    }
    attacher.close().unwrap();
}
