//! `netpol-agent detach`: removes what an agent left in the kernel.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::agent::host_name;
use crate::node::attach::{self, Instance, Removed};
use crate::node::spec::NodeSpec;

/// Detach from every interface, and remove pinned links and maps.
///
/// Stop the agent first: a running one attaches again. Only what the named instance attached is removed; clsact qdiscs
/// stay, since others may use them.
#[derive(Args, Debug)]
pub struct Detach {
    /// Whose links, filters and maps: the agent's --instance.
    #[arg(long, env = "NETPOL_INSTANCE", default_value = DEFAULT_INSTANCE, value_name = "NAME")]
    instance: Instance,
    /// Where the BPF file system is mounted.
    #[arg(long, env = "NETPOL_BPFFS", default_value = DEFAULT_BPFFS, value_name = "PATH")]
    bpffs: PathBuf,
    /// The nodes that were observed, as the agent was told [default: this machine]
    #[arg(
        long,
        env = "NETPOL_NODE",
        value_name = "NAME[=NETNS]",
        value_delimiter = ','
    )]
    node: Vec<NodeSpec>,
}

/// The instance where none is named.
pub const DEFAULT_INSTANCE: &str = "default";
/// Where a BPF file system is usually mounted.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf";

impl Detach {
    /// Detaches, and says what was removed.
    ///
    /// # Errors
    ///
    /// Whatever keeps something from being removed, and what to do about it.
    pub fn run(self) -> Result<ExitCode, anyhow::Error> {
        let mut nodes = self.node.clone();
        if nodes.is_empty() {
            nodes.push(host_name()?.parse()?);
        }
        let removed = nodes.iter().map(|node| self.detach_from(node));
        let removed = removed.collect::<Result<Vec<_>, _>>()?;
        let mut out = io::stdout().lock();
        for line in report(&self.instance, &removed) {
            writeln!(out, "{line}")?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Detaches in the node's network namespace, which a thread enters and takes with it.
    fn detach_from(&self, node: &NodeSpec) -> Result<Removed, anyhow::Error> {
        let instance = node.instance(&self.instance)?;
        let detach = || {
            node.enter()?;
            Ok(attach::detach(&self.bpffs, &instance)?)
        };
        std::thread::scope(|scope| scope.spawn(detach).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// One line for each kind of thing that was removed.
fn report(instance: &Instance, removed: &[Removed]) -> Vec<String> {
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
        lines.push(format!(
            "the maps held {entries} edges and attempts: what the agent had not delivered of them is lost"
        ));
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
        assert_eq!(
            report(&instance, &[one, other]),
            [
                "removed 2 TCX links, and 1 whose interface was gone",
                "removed 2 filters",
                "removed 2 maps: v1/EDGES, v1/META",
                "the maps held 5 edges and attempts: what the agent had not delivered of them is lost",
            ]
        );
        assert_eq!(
            report(&instance, &[Removed::default()]),
            ["nothing is attached or pinned by the instance node-1"]
        );
    }
}
