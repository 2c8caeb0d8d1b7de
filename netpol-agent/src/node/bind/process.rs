//! Pods' network namespaces, found through the processes in their cgroups.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;

use procfs::ProcResult;
use procfs::process::{Process, all_processes_with_root};

use super::cgroup::pod_uids;
use super::facts::Sandbox;
use super::kernel::Tables;
use crate::node::netlink::NetlinkError;

/// When a process started, in ticks since boot, and its number: together they name it for ever.
type Start = (u64, i32);

/// The network namespace of each pod: that of the oldest process in its cgroup, which is the sandbox's or the first
/// container's. Younger ones may have entered another, as debuggers and node agents do.
///
/// Processes that end meanwhile are left out.
///
/// # Errors
///
/// If `proc` cannot be listed.
pub(super) fn sandboxes(proc: &Path, tables: &Tables) -> ProcResult<Vec<Sandbox>> {
    let own_pids = has_own_pids(proc);
    let found = oldest(proc)?.into_iter().filter_map(|(pod_uid, start)| {
        let netnsid = number(proc, start, tables, own_pids)?;
        let process = start.1.cast_unsigned();
        Some(Sandbox {
            pod_uid,
            netnsid,
            process,
        })
    });
    Ok(found.collect())
}

/// The oldest process of each pod, by uid.
fn oldest(proc: &Path) -> ProcResult<BTreeMap<String, Start>> {
    let mut pods = BTreeMap::new();
    for process in all_processes_with_root(proc)?.flatten() {
        let Ok(uids) = uids(&process) else { continue };
        let Some(start) = start(&process).filter(|_| !uids.is_empty()) else {
            continue;
        };
        for uid in uids {
            let oldest = pods.entry(uid).or_insert(start);
            *oldest = start.min(*oldest);
        }
    }
    Ok(pods)
}

/// The pods that a process belongs to, by any of its cgroup hierarchies.
fn uids(process: &Process) -> ProcResult<BTreeSet<String>> {
    let cgroups = process.cgroups()?;
    Ok(cgroups
        .0
        .iter()
        .flat_map(|cgroup| pod_uids(&cgroup.pathname))
        .collect())
}

fn start(process: &Process) -> Option<Start> {
    let start = process.stat().ok()?.starttime;
    Some((start, process.pid()))
}

/// The number of a process's network namespace, if the process still is the one that started then. The namespace's
/// file needs the right to trace the process; the number of the process does not, but must be of our numbering.
fn number(proc: &Path, wanted: Start, tables: &Tables, own_pids: bool) -> Option<i32> {
    let process = Process::new_with_root(proc.join(wanted.1.to_string())).ok()?;
    let by_process = || -> Result<Option<i32>, NetlinkError> {
        if !own_pids {
            return Ok(None);
        }
        tables.number_of_process(wanted.1.cast_unsigned())
    };
    let number = match process.open_relative("ns/net") {
        Ok(file) => tables.number_of_file(file.as_fd()),
        Err(_) => by_process(),
    };
    let same = start(&process) == Some(wanted);
    number.ok().flatten().filter(|_| same)
}

/// Whether `proc` numbers processes as this process's own namespace does.
fn has_own_pids(proc: &Path) -> bool {
    let target = std::fs::read_link(proc.join("self")).ok();
    target.is_some_and(|target| target.as_os_str() == std::process::id().to_string().as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A process as far as it is read, in a process file system of files.
    fn add_process(proc: &Path, pid: i32, started: u64, cgroups: &str) {
        let dir: PathBuf = proc.join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let stat = format!(
            "{pid} (sleep (x)) S 1 1 1 0 -1 4194304 90 0 0 0 0 0 0 0 20 0 1 0 {started} 2297856 127 \
             18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("cgroup"), cgroups).unwrap();
    }

    #[test]
    fn the_oldest_process_speaks_for_its_pod() {
        let proc = tempfile::tempdir().unwrap();
        let v2 = "0::/kubepods.slice/kubepods-poda_1.slice/cri-containerd-4e5b.scope\n";
        add_process(proc.path(), 30, 500, v2);
        add_process(proc.path(), 40, 400, v2);
        add_process(proc.path(), 41, 400, v2);
        let v1 = "9:name=systemd:/\n4:memory:/kubepods/burstable/podb-2/77aa\n0::/\n";
        add_process(proc.path(), 10, 600, v1);
        add_process(proc.path(), 11, 600, "0::/system.slice/sshd.service\n");
        add_process(proc.path(), 12, 1, "garbage");
        fs::create_dir(proc.path().join("99")).unwrap();
        let expected = [("a-1".to_owned(), (400, 40)), ("b-2".to_owned(), (600, 10))];
        assert_eq!(oldest(proc.path()).unwrap(), BTreeMap::from(expected));
    }

    #[test]
    fn a_process_file_system_that_is_absent_is_an_error() {
        assert!(oldest(Path::new("/nonexistent/proc")).is_err());
    }

    #[test]
    fn process_numbers_are_trusted_only_where_they_are_ours() {
        assert!(has_own_pids(Path::new("/proc")));
        let other = tempfile::tempdir().unwrap();
        assert!(!has_own_pids(other.path()));
    }
}
