//! Which processes live in which network namespace, and which pods they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::stat::fstat;
use procfs::ProcResult;
use procfs::process::{Process, all_processes_with_root};

use super::bind::{Sandbox, pod_uids};
use super::netns::Numbers;

/// When a process started, in ticks since boot, and its number: together they name it for ever.
type Start = (u64, i32);

/// What was found out about a process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Described {
    start: Start,
    /// None where no interface leads.
    netnsid: Option<i32>,
    pod_uids: BTreeSet<String>,
}

/// The processes in the network namespaces that interfaces of the calling thread's lead to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inhabitants {
    /// The network namespace of each pod's oldest process: the sandbox's, or the first container's. Younger ones may
    /// have entered another namespace, as debuggers and node agents do.
    pub sandboxes: Vec<Sandbox>,
    /// The oldest process of each namespace, by the namespace's number.
    pub oldest: BTreeMap<i32, u32>,
}

/// Scans every process that `proc` shows. Those that end meanwhile are left out.
///
/// # Errors
///
/// If `proc` cannot be listed.
pub fn inhabitants(proc: &Path, numbers: &Numbers) -> ProcResult<Inhabitants> {
    let mut namespaces = Namespaces {
        numbers,
        own_pids: has_own_pids(proc),
        known: BTreeMap::new(),
    };
    let processes = all_processes_with_root(proc)?.flatten();
    let described = processes.filter_map(|process| namespaces.describe(&process));
    Ok(summarise(described))
}

/// The oldest process of each pod and of each namespace. A pod whose oldest process lives where no interface leads has
/// no namespace here, whatever its younger ones do: they may be tests that make namespaces of their own.
fn summarise(processes: impl IntoIterator<Item = Described>) -> Inhabitants {
    let mut pods: BTreeMap<String, (Start, Option<i32>)> = BTreeMap::new();
    let mut namespaces: BTreeMap<i32, Start> = BTreeMap::new();
    for process in processes {
        let Described {
            start,
            netnsid,
            pod_uids,
        } = process;
        if let Some(netnsid) = netnsid {
            let oldest = namespaces.entry(netnsid).or_insert(start);
            *oldest = start.min(*oldest);
        }
        for uid in pod_uids {
            let oldest = pods.entry(uid).or_insert((start, netnsid));
            *oldest = (start, netnsid).min(*oldest);
        }
    }
    let sandboxes = pods.into_iter().filter_map(|(pod_uid, (_, netnsid))| {
        let netnsid = netnsid?;
        Some(Sandbox { pod_uid, netnsid })
    });
    let pid = |(netnsid, start): (i32, Start)| (netnsid, start.1.cast_unsigned());
    Inhabitants {
        sandboxes: sandboxes.collect(),
        oldest: namespaces.into_iter().map(pid).collect(),
    }
}

/// Numbers of namespaces, asked for once per namespace where the namespace's file can be opened.
struct Namespaces<'a> {
    numbers: &'a Numbers,
    own_pids: bool,
    known: BTreeMap<u64, Option<i32>>,
}

impl Namespaces<'_> {
    fn describe(&mut self, process: &Process) -> Option<Described> {
        let start = start(process)?;
        let netnsid = self.number(process, start);
        let pod_uids = pods_of(process).unwrap_or_default();
        Some(Described {
            start,
            netnsid,
            pod_uids,
        })
    }

    /// The namespace's file needs the right to trace the process; asking by the process's number does not, but the
    /// number must be of our numbering and may have passed to another process meanwhile.
    fn number(&mut self, process: &Process, wanted: Start) -> Option<i32> {
        let Ok(file) = process.open_relative("ns/net") else {
            let number = self.numbers.of_process(wanted.1.cast_unsigned());
            let same = self.own_pids && start(process) == Some(wanted);
            return number.ok().flatten().filter(|_| same);
        };
        let inode = fstat(&file).ok()?.st_ino;
        let ask = || self.numbers.of_file(file.as_fd()).ok().flatten();
        *self.known.entry(inode).or_insert_with(ask)
    }
}

/// The pods that a process belongs to, by any of its cgroup hierarchies.
fn pods_of(process: &Process) -> ProcResult<BTreeSet<String>> {
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

/// Whether `proc` numbers processes as this process's own namespace does.
fn has_own_pids(proc: &Path) -> bool {
    let target = std::fs::read_link(proc.join("self")).ok();
    target.is_some_and(|target| target.as_os_str() == std::process::id().to_string().as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn process(start: Start, netnsid: impl Into<Option<i32>>, uid: &str) -> Described {
        Described {
            start,
            netnsid: netnsid.into(),
            pod_uids: BTreeSet::from([uid.to_owned()]),
        }
    }

    #[test]
    fn the_oldest_process_speaks_for_its_pod_and_its_namespace() {
        let sandbox = process((400, 40), 7, "a");
        let same_tick = process((400, 41), 8, "a");
        let visitor = process((300, 30), 7, "monitor");
        let monitor = process((200, 20), 9, "monitor");
        let elsewhere = process((100, 10), None, "elsewhere");
        let maker = process((500, 50), 8, "elsewhere");
        let found = summarise([same_tick, visitor, sandbox, monitor, maker, elsewhere]);
        let sandboxes = [("a", 7), ("monitor", 9)];
        let expected = Inhabitants {
            sandboxes: sandboxes
                .map(|(uid, netnsid)| Sandbox {
                    pod_uid: uid.into(),
                    netnsid,
                })
                .into(),
            oldest: BTreeMap::from([(7, 30), (8, 41), (9, 20)]),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn processes_name_their_pods_in_any_hierarchy() {
        let proc = tempfile::tempdir().unwrap();
        let text = "9:name=systemd:/\n4:memory:/kubepods/burstable/podb-2/77aa\n\
                    0::/kubepods.slice/kubepods-poda_1.slice/cri-containerd-4e5b.scope\n";
        let dir = proc.path().join("30");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("cgroup"), text).unwrap();
        let process = Process::new_with_root(dir.clone()).unwrap();
        let expected = BTreeSet::from(["a-1".to_owned(), "b-2".to_owned()]);
        assert_eq!(pods_of(&process).unwrap(), expected);
        fs::write(dir.join("cgroup"), "garbage").unwrap();
        assert!(pods_of(&process).is_err());
    }

    #[test]
    fn a_process_file_system_that_is_absent_is_an_error() {
        let numbers = Numbers::open().unwrap();
        assert!(inhabitants(Path::new("/nonexistent/proc"), &numbers).is_err());
    }

    #[test]
    fn process_numbers_are_trusted_only_where_they_are_ours() {
        assert!(has_own_pids(Path::new("/proc")));
        let other = tempfile::tempdir().unwrap();
        assert!(!has_own_pids(other.path()));
    }
}
