//! A person with `kubectl-netpol`.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;

/// How long something may take to come about: long enough for any machine. A test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a command left.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) problems: String,
}

/// Runs `kubectl-netpol` as alice does. Nobody kills it.
pub(crate) fn netpol(cluster: &Cluster, arguments: &[&str]) -> Said {
    let output = command(cluster, "alice").args(arguments).output().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        problems: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `kubectl-netpol` for whoever has that token.
pub(crate) fn command(cluster: &Cluster, token: &str) -> Command {
    let mut command = Command::new(&cluster.programs.kubectl);
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("TERM", "dumb")
        .env("KUBECONFIG", cluster.kubeconfig(token));
    command
}

/// Runs it again and again until it ends with that code: whoever it asks may just be away, and it may be killed.
pub(crate) fn persistently(cluster: &Cluster, arguments: &[&str], code: i32) -> Said {
    let begin = Instant::now();
    loop {
        let said = killable(cluster, command(cluster, "alice").args(arguments));
        if said.code == Some(code) {
            return said;
        }
        assert!(begin.elapsed() < PATIENCE, "{arguments:?}: {said:#?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Runs a command that [`kill`] may kill.
fn killable(cluster: &Cluster, command: &mut Command) -> Said {
    let (out, problems) = (cluster.file("out"), cluster.file("problems"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&problems).unwrap());
    *cluster.person.lock().unwrap() = Some(command.spawn().unwrap());
    let status = loop {
        let mut person = cluster.person.lock().unwrap();
        let ended = person.as_mut().unwrap().try_wait().unwrap();
        if let Some(status) = ended {
            *person = None;
            break status;
        }
        drop(person);
        std::thread::sleep(Duration::from_millis(5));
    };
    Said {
        code: status.code(),
        out: fs::read_to_string(out).unwrap(),
        problems: fs::read_to_string(problems).unwrap(),
    }
}

/// Whether a person runs something that may be killed.
pub(crate) fn runs(cluster: &Cluster) -> bool {
    cluster.person.lock().unwrap().is_some()
}

/// Kills what a person runs, if it runs. Returns whether it does.
pub(crate) fn kill(cluster: &Cluster) -> bool {
    let mut person = cluster.person.lock().unwrap();
    let runs = person.as_mut();
    runs.map(|child| child.kill().unwrap()).is_some()
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
