//! A person with `kubectl-netpol`.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;

/// How long something may take to come about: long enough for any machine. A test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(150);

/// What a command left.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) problems: String,
}

/// Runs `kubectl-netpol` as alice does.
pub(crate) fn netpol(cluster: &Cluster, arguments: &[&str]) -> Said {
    let mut command = Command::new(&cluster.programs.kubectl);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("TERM", "dumb")
        .env("KUBECONFIG", cluster.kubeconfig("alice"));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code(),
        out: text(output.stdout),
        problems: text(output.stderr),
    }
}

/// Runs it again and again until it ends with that code: whoever it asks may just be away.
pub(crate) fn persistently(cluster: &Cluster, arguments: &[&str], code: i32) -> Said {
    let begin = Instant::now();
    loop {
        let said = netpol(cluster, arguments);
        if said.code == Some(code) {
            return said;
        }
        assert!(begin.elapsed() < PATIENCE, "{arguments:?}: {said:#?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Waits until `now` tells nothing that is still amiss. `look` is asked first each time.
pub(crate) fn until(what: &str, look: impl Fn(), mut now: impl FnMut() -> Result<(), String>) {
    let begin = Instant::now();
    loop {
        look();
        let Err(amiss) = now() else { return };
        assert!(begin.elapsed() < PATIENCE, "{what}: {amiss}");
        std::thread::sleep(Duration::from_millis(150));
    }
}
