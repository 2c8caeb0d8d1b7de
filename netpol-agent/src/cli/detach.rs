//! `netpol-agent detach`: removes what an agent left in the kernel, once what it counted is kept.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::node::Observing;
use crate::node::attach::{self, AttachError, Claim, Instance, PinRoot, Removed};
use crate::node::observer::Ending;
use crate::node::spec::NodeSpec;
use crate::node::standalone;

/// Detach from every interface, and remove pinned links and maps.
///
/// Stop the agent first. What was counted since then is read from the maps and kept in the state directory before they
/// are removed, which takes the flags that the agent was given; or give it up with --discard. Only what the named instance
/// attached is removed; clsact qdiscs stay, since others may use them.
#[derive(Args, Debug)]
pub struct Detach {
    /// Remove the maps without keeping what they hold
    #[arg(long, env = "NETPOL_DISCARD")]
    discard: bool,
    /// Remove the agent's files of these nodes from the state directory too, and with them what was not delivered
    #[arg(long, env = "NETPOL_FORGET", requires = "discard")]
    forget: bool,
    #[command(flatten)]
    observing: Observing,
}

/// What became of what the maps held.
#[derive(Clone, Copy, Debug)]
enum Held<'a> {
    Kept(&'a Path),
    Discarded,
}

impl Detach {
    /// Detaches, and says what was removed.
    ///
    /// # Errors
    ///
    /// Whatever keeps something from being kept or removed, and what to do about it.
    pub fn run(self) -> Result<ExitCode, anyhow::Error> {
        let nodes = self.observing.nodes()?;
        let (instance, forgetting) = (self.observing.instance.clone(), self.forget);
        let (bpffs, state) = (
            self.observing.bpffs.clone(),
            self.observing.state_dir.clone(),
        );
        let held = if self.discard {
            Held::Discarded
        } else {
            self.keep(&nodes)?;
            Held::Kept(&state)
        };
        let removed = nodes.iter().map(|node| remove(node, &instance, &bpffs));
        let removed = removed.collect::<Result<Vec<_>, _>>()?;
        if forgetting {
            forget(&state, &nodes)?;
        }
        let mut out = io::stdout().lock();
        for line in report(&instance, &removed, held) {
            writeln!(out, "{line}")?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Keeps what the maps hold, if there is anything.
    fn keep(self, nodes: &[NodeSpec]) -> Result<(), anyhow::Error> {
        let entries = self.entries(nodes)?;
        if entries == 0 {
            return Ok(());
        }
        if self.observing.source().is_err() {
            bail!(
                "the maps hold {entries} edges and attempts, some of which may not be kept yet: name the Kubernetes \
                 objects with --inventory, --kubeconfig or --in-cluster, and the agent's --state-dir, so that they \
                 are; or give them up with --discard"
            );
        }
        Ok(standalone::run(&self.observing.options(Ending::Detach)?)?)
    }

    /// How many entries the pinned maps hold.
    fn entries(&self, nodes: &[NodeSpec]) -> Result<usize, AttachError> {
        let entries = nodes.iter().map(|node| {
            let instance = node.instance(&self.observing.instance)?;
            attach::entries(&PinRoot::new(&self.observing.bpffs, &instance))
        });
        entries.sum()
    }
}

/// Detaches in the node's network namespace.
fn remove(node: &NodeSpec, agent: &Instance, bpffs: &Path) -> Result<Removed, anyhow::Error> {
    let instance = node.instance(agent)?;
    node.inside(|| {
        let _claim = Claim::of_what_is_there(&instance, &PinRoot::new(bpffs, &instance))?;
        Ok(attach::detach(bpffs, &instance)?)
    })
}

/// Removes what an agent keeps of those nodes; what is not an agent's stays.
fn forget(state: &Path, nodes: &[NodeSpec]) -> Result<(), anyhow::Error> {
    let failed = |action: &str, path: &Path| format!("cannot {action} {}", path.display());
    let entries = match fs::read_dir(state) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| failed("list", state))?,
    };
    let names: Vec<String> = nodes.iter().map(NodeSpec::file_name).collect();
    for entry in entries {
        let entry = entry.with_context(|| failed("list", state))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| is_of(&names, name)) {
            let path = entry.path();
            fs::remove_file(&path).with_context(|| failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a file in the state directory is an agent's of one of these nodes: a database, with what SQLite or we put beside
/// it, or what the aggregator has refused.
fn is_of(nodes: &[String], file: &str) -> bool {
    let kinds = [("observer", "db"), ("spool", "db"), ("refused", "jsonl")];
    let mut own = nodes
        .iter()
        .flat_map(|node| kinds.map(|(kind, ending)| format!("{kind}-{node}.{ending}")));
    let is = |own: String| {
        let rest = file.strip_prefix(&own);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    };
    file == "lock" || own.any(is)
}

/// One line for each kind of thing that was removed.
fn report(instance: &Instance, removed: &[Removed], held: Held<'_>) -> Vec<String> {
    let links: usize = removed.iter().map(|removed| removed.links).sum();
    let dead: usize = removed.iter().map(|removed| removed.dead_links).sum();
    let filters: usize = removed.iter().map(|removed| removed.filters.len()).sum();
    let maps: Vec<&str> = removed
        .iter()
        .flat_map(|removed| &removed.maps)
        .map(String::as_str)
        .collect();
    let mut lines = Vec::new();
    if links + dead > 0 {
        lines.push(format!(
            "removed {links} TCX links, and {dead} whose interface was gone"
        ));
    }
    if filters > 0 {
        lines.push(format!("removed {filters} filters"));
    }
    if !maps.is_empty() {
        lines.push(format!("removed {} maps: {}", maps.len(), maps.join(", ")));
    }
    let entries: usize = removed.iter().map(|removed| removed.entries).sum();
    if entries > 0 {
        lines.push(match held {
            Held::Kept(state) => format!(
                "what the maps held is kept in {}: {entries} edges and attempts",
                state.display()
            ),
            Held::Discarded => format!(
                "the maps held {entries} edges and attempts: what the agent had not delivered of them is lost"
            ),
        });
    }
    if lines.is_empty() {
        lines.push(format!(
            "nothing is attached or pinned by the instance {instance}"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::attach::{Hook, RemovedFilter};

    #[test]
    fn only_files_of_an_agents_own_are_forgotten() {
        let nodes = ["a".to_owned()];
        let own = [
            "lock",
            "observer-a.db",
            "observer-a.db-wal",
            "spool-a.db",
            "spool-a.db.damaged",
            "refused-a.jsonl",
        ];
        let others = ["observer-b.db", "spool-a1.db", "graph.db", "notes"];
        assert!(own.iter().all(|file| is_of(&nodes, file)));
        assert!(!others.iter().any(|file| is_of(&nodes, file)));
    }

    #[test]
    fn files_are_removed_and_a_directory_that_is_absent_is_no_error() {
        let state = tempfile::tempdir().unwrap();
        let node: NodeSpec = "a".parse().unwrap();
        for name in ["spool-a.db", "notes"] {
            fs::write(state.path().join(name), "").unwrap();
        }
        forget(state.path(), std::slice::from_ref(&node)).unwrap();
        let left = fs::read_dir(state.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes"]);
        forget(&state.path().join("absent"), &[node]).unwrap();
    }

    #[test]
    fn what_was_removed_is_summed_up_over_namespaces() {
        let one = Removed {
            links: 2,
            dead_links: 1,
            filters: Vec::new(),
            maps: vec!["v1/EDGES".to_owned(), "v1/META".to_owned()],
            entries: 5,
        };
        let filter = |hook| RemovedFilter { ifindex: 3, hook };
        let other = Removed {
            filters: vec![filter(Hook::Ingress), filter(Hook::Egress)],
            ..Removed::default()
        };
        let instance = "node-1".parse().unwrap();
        let mut lines = vec![
            "removed 2 TCX links, and 1 whose interface was gone",
            "removed 2 filters",
            "removed 2 maps: v1/EDGES, v1/META",
            "the maps held 5 edges and attempts: what the agent had not delivered of them is lost",
        ];
        let removed = [one, other];
        assert_eq!(report(&instance, &removed, Held::Discarded), lines);
        lines[3] = "what the maps held is kept in /state: 5 edges and attempts";
        let kept = Held::Kept(Path::new("/state"));
        assert_eq!(report(&instance, &removed, kept), lines);
        assert_eq!(
            report(&instance, &[Removed::default()], kept),
            ["nothing is attached or pinned by the instance node-1"]
        );
    }
}
