//! What commands read: an inventory and flow records, from files, stdin or a cluster.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use netpol_common::record::FlowRecord;
use netpol_common::words::View;

use super::captures::Captures;
use super::cluster::NamespaceFlags;
use super::origin::{Objects, Origin, Policies};
use super::output::warn;
use super::progress;
use crate::flows::{self, BadLines, Summary};
use crate::graph::{Builder, FlowGraph, ReportedNodes, UnresolvedFlows};
use crate::identity::Index;
use crate::inventory::Inventory;

/// How many findings of a kind are printed one by one.
const SHOWN: usize = 20;

/// Bytes of a file that are read at once.
const BUFFER: usize = 1 << 16;

/// Where to read from.
#[derive(Args, Clone, Debug)]
pub struct Inputs {
    /// The Kubernetes objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Flow records as JSON Lines: a file, or - for stdin; may be repeated
    #[arg(long, short = 'f', env = "NETPOL_FLOWS", value_name = "PATH")]
    pub flows: Vec<PathBuf>,
    /// What other tools captured.
    #[command(flatten)]
    pub captures: Captures,
    /// Count lines that are no flow records instead of stopping at the first; take a capture that breaks off as it is
    #[arg(long, env = "NETPOL_SKIP_BAD_LINES")]
    pub skip_bad_lines: bool,
    /// Which namespaces' flows.
    #[command(flatten)]
    pub namespaces: NamespaceFlags,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What else than the index's objects the inventory held: policies.
    pub inventory: Inventory,
    /// Who had which address when.
    pub index: Index,
    /// Who talks to whom.
    pub graph: FlowGraph,
    /// The only namespace that is asked about, if there is one.
    pub namespace: Option<String>,
}

impl Loaded {
    /// Prints to stderr what the graph leaves open: flows that cannot be resolved, and outcomes that nobody saw.
    pub fn tell_gaps(&self) {
        tell_unresolved(&self.graph.unresolved);
        tell_unknown(&self.graph);
    }
}

impl Inputs {
    /// Reads everything, and prints to stderr what a person should know of the inputs: warnings about the inventory,
    /// and skipped lines.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read; the message names the file and the place in it.
    pub fn load(&self) -> anyhow::Result<Loaded> {
        check_stdin(self.paths())?;
        self.load_from(&mut self.open()?)
    }

    /// Opens the files, or a way to the cluster.
    ///
    /// # Errors
    ///
    /// Files of one kind without those of the other; what is missing on the way to the cluster.
    pub(super) fn open(&self) -> anyhow::Result<Origin<'_>> {
        match (self.objects.inventory.is_empty(), self.sources() == 0) {
            (false, true) => bail!(
                "--inventory needs flows beside it: name them with --flows, --pcap, --hubble or --conntrack, or leave \
                 out --inventory to ask the cluster"
            ),
            (true, false) => bail!(
                "flows from files need the objects of their cluster: name them with --inventory, or leave the files \
                 out to ask the cluster"
            ),
            _ => self.objects.open(),
        }
    }

    /// Whether nothing names a file, so that a cluster is asked.
    pub(super) fn is_cluster(&self) -> bool {
        self.objects.inventory.is_empty() && self.sources() == 0
    }

    /// The same as [`load`](Self::load), from what was opened.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read.
    pub(super) fn load_from(&self, origin: &mut Origin<'_>) -> anyhow::Result<Loaded> {
        let mut inventory = origin.inventory(Policies::Aside)?;
        let mut index = inventory.take_index();
        let namespace = self.namespace(origin);
        let mut graph = self.graph(origin, &mut index)?;
        if let Some(namespace) = &namespace {
            graph.keep_namespace(namespace);
        }
        Ok(Loaded {
            inventory,
            index,
            graph,
            namespace,
        })
    }

    /// The only namespace that is asked about, if there is one.
    pub(super) fn namespace(&self, origin: &Origin<'_>) -> Option<String> {
        match origin {
            Origin::Files(_) => self.namespaces.namespace.clone(),
            Origin::Cluster(live) => self.namespaces.of(&live.session),
        }
    }

    fn graph(&self, origin: &mut Origin<'_>, index: &mut Index) -> anyhow::Result<FlowGraph> {
        let mut builder = Builder::default();
        self.each_flow(origin, index, |index, _, record| builder.add(index, record))?;
        Ok(builder.finish(&*index))
    }

    /// Reads every flow record, with the input and the line that it came from. The index learns the node addresses
    /// that records tell.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read; the message names the file and the line.
    pub(super) fn each_flow(
        &self,
        origin: &mut Origin<'_>,
        index: &mut Index,
        mut each: impl FnMut(&Index, (&str, u64), &FlowRecord),
    ) -> anyhow::Result<()> {
        let mut nodes = ReportedNodes::default();
        let namespace = self.namespace(origin);
        if let Origin::Cluster(live) = origin {
            let read = live.each_flow(namespace.as_deref(), self.bad_lines(), |at, record| {
                nodes.note(record, index);
                each(index, at, record);
            });
            tell_skipped("flows of the cluster", &read?);
            return Ok(());
        }
        for path in &self.flows {
            let (name, reader) = open("flows", path)?;
            let reader = BufReader::with_capacity(BUFFER, reader);
            let summary = flows::read_numbered(&name, reader, self.bad_lines(), |line, record| {
                nodes.note(&record, index);
                each(index, (&name, line), &record);
            })?;
            tell_skipped(&name, &summary);
        }
        self.captures.each(self.bad_lines(), index, each)
    }

    /// How many inputs hold flows.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.flows.len() + self.captures.paths().count()
    }

    /// Every path that is read.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let files = self.objects.inventory.iter().chain(&self.flows);
        files.chain(self.captures.paths())
    }

    fn bad_lines(&self) -> BadLines {
        if self.skip_bad_lines {
            BadLines::Skip
        } else {
            BadLines::Fail
        }
    }
}

/// Stdin can be read only once, whichever input it is for.
///
/// # Errors
///
/// If more than one of the paths is `-`.
pub fn check_stdin<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> anyhow::Result<()> {
    let paths = paths.into_iter();
    if paths.filter(|path| is_stdin(path)).count() > 1 {
        bail!("stdin (-) can be read only once: name a file for the other input");
    }
    Ok(())
}

/// The name that messages give the input, and its reader, which shows how far it is.
pub(super) fn open(what: &str, path: &Path) -> anyhow::Result<(String, Box<dyn Read + Send>)> {
    if is_stdin(path) {
        return Ok(("stdin".to_owned(), Box::new(std::io::stdin())));
    }
    let name = format!("{what} {}", path.display());
    let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    Ok((name, Box::new(progress::follow(path, file))))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn tell_skipped(input: &str, summary: &Summary) {
    if let Some((line, problem)) = &summary.first_skipped {
        let skipped = summary.skipped;
        warn(format_args!(
            "{input}: {skipped} bad lines skipped, the first of them line {line}: {problem}"
        ));
    }
}

fn tell_unresolved(unresolved: &UnresolvedFlows) {
    for (flow, evidence) in unresolved.flows.iter().take(SHOWN) {
        warn(format_args!(
            "unresolved: {} -> {} port {}/{}, {} ({} times): {}",
            flow.client,
            flow.server,
            flow.port,
            flow.protocol,
            flow.outcome,
            evidence.counts.of(flow.outcome),
            flow.reason
        ));
    }
    let more = unresolved.flows.len().saturating_sub(SHOWN);
    if more > 0 {
        warn(format_args!("{more} more flows are unresolved"));
    }
    if unresolved.beyond_bound > 0 {
        let records = unresolved.beyond_bound;
        warn(format_args!(
            "{records} more records are of unresolved flows that were too many to keep"
        ));
    }
}

fn tell_unknown(graph: &FlowGraph) {
    let unknown = graph.edges.iter().filter(|(_, evidence)| {
        let views = [View::Client, View::Server];
        let of = |view| evidence.view(view).map_or(0, |v| v.counts.unknown);
        views.into_iter().any(|view| of(view) > 0)
    });
    let unknown: Vec<_> = unknown.map(|(id, _)| id).collect();
    for id in unknown.iter().take(SHOWN) {
        warn(format_args!(
            "outcome unknown: {} -> {} port {}/{}: its interface shows one side only",
            id.client, id.server, id.port, id.protocol
        ));
    }
    let more = unknown.len().saturating_sub(SHOWN);
    if more > 0 {
        warn(format_args!("{more} more edges have an unknown outcome"));
    }
}
