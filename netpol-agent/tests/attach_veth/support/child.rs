//! An agent in a process of its own, which can be killed.

use std::io::{BufRead, BufReader, Lines, Read};
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
    let [from_pod, to_pod] =
        ["in", "out"].map(|side| bpf::load_counter(&bpf::open_pin(&bpffs.join(side)), bpf::NEXT));
    let mut attacher = Attacher::new(options, Programs { from_pod, to_pod }).unwrap();
    attacher.adopt().unwrap();
    attacher
        .attach(ifindex.parse().unwrap(), interface.parse().unwrap())
        .unwrap();
    println!("attached");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    attacher.close().unwrap();
}
