//! The flags that choose how policies are written, and what is read from the files that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, Id};
use ipnet::IpNet;

use crate::control::Overrides;
use crate::crd::{OptionsSpec, WrittenNodes};
use crate::policy::options::{
    Budget, Cni, Dns, External, Nodes, OneWay, Options, Peers, Ranges, RejectedEdge,
};

/// The word that stands for blocks around all nodes.
const AUTO: &str = "auto";

/// How policies are written.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What policies allow")]
pub(super) struct Choices {
    /// DNS to allow beyond what was seen
    #[arg(
        long,
        env = "NETPOL_DNS",
        value_enum,
        default_value_t,
        value_name = "WHICH"
    )]
    dns: Dns,
    /// When UDP that is never replied to makes a rule
    #[arg(
        long,
        env = "NETPOL_ONE_WAY",
        value_enum,
        default_value_t,
        value_name = "WHEN"
    )]
    one_way: OneWay,
    /// How to write addresses outside the cluster
    #[arg(
        long,
        env = "NETPOL_EXTERNAL",
        value_enum,
        default_value_t,
        value_name = "HOW"
    )]
    external: External,
    /// With --external aggregate: at most so many blocks for each port and address family
    #[arg(long, env = "NETPOL_EXTERNAL_BLOCKS", value_name = "NUMBER", default_value_t = Budget::default().blocks)]
    external_blocks: usize,
    /// With --external aggregate or --node-cidr auto: at most so many addresses beyond those seen; of IPv6, networks
    /// of 64 bits
    #[arg(long, env = "NETPOL_EXTERNAL_BEYOND", value_name = "NUMBER", default_value_t = Budget::default().beyond)]
    external_beyond: u64,
    /// A name for blocks of addresses: an external address inside is written as all of them; or a file with a line for
    /// each name; may be repeated
    #[arg(
        long,
        env = "NETPOL_CIDR_GROUP",
        value_name = "NAME=CIDR[,CIDR]|FILE",
        value_delimiter = ';'
    )]
    cidr_group: Vec<String>,
    /// Ranges of the cluster's pods, services and nodes that the inventory does not tell
    #[arg(long, env = "NETPOL_CLUSTER_CIDR", value_name = "CIDR", value_delimiter = ',', value_parser = cidr)]
    cluster_cidr: Vec<IpNet>,
    /// How to write ports of a server that change from connection to connection
    #[arg(
        long,
        env = "NETPOL_RANGES",
        value_enum,
        default_value_t,
        value_name = "HOW"
    )]
    ranges: Ranges,
    /// How to write workloads at the other end
    #[arg(
        long,
        env = "NETPOL_PEERS",
        value_enum,
        default_value_t,
        value_name = "HOW"
    )]
    peers: Peers,
    /// Write a node as every node: as these blocks, or auto for the fewest blocks around all nodes' addresses
    #[arg(
        long,
        env = "NETPOL_NODE_CIDR",
        value_name = "CIDR|auto",
        value_delimiter = ','
    )]
    node_cidr: Vec<String>,
    /// In each namespace in which a workload gets a policy, deny all else but DNS
    #[arg(long, env = "NETPOL_DEFAULT_DENY")]
    default_deny: bool,
    /// An edge that is not to be allowed although it was seen, as in `shop/Deployment/web -> 203.0.113.7 443/TCP`; or
    /// a file with a line for each; may be repeated
    #[arg(
        long,
        env = "NETPOL_REJECT",
        value_name = "EDGE|FILE",
        value_delimiter = ';'
    )]
    reject: Vec<String>,
    /// Which network plugin enforces them: generic, cilium, calico or aws, also with a version as in cilium=1.15
    #[arg(
        long,
        env = "NETPOL_CNI",
        value_name = "PLUGIN[=VERSION]",
        default_value = "generic"
    )]
    cni: Cni,
}

/// The same, with which of them somebody chose, on the command line or by the environment.
#[derive(Clone, Debug)]
pub(super) struct Given {
    choices: Choices,
    given: BTreeSet<String>,
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let somebody = [ValueSource::CommandLine, ValueSource::EnvVariable];
        let given = matches.ids().map(Id::as_str).filter(|id| {
            let source = matches.value_source(id);
            source.is_some_and(|source| somebody.contains(&source))
        });
        Ok(Self {
            given: given.map(str::to_owned).collect(),
            choices: Choices::from_arg_matches_mut(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        Choices::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Choices::augment_args_for_update(command)
    }
}

impl Given {
    /// The options that the flags ask for.
    ///
    /// # Errors
    ///
    /// As [`Choices::options`].
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        self.choices.options()
    }

    /// What of these options somebody chose, so that it counts also where a cluster asks for something else.
    pub(super) fn overrides(&self, options: &Options) -> Overrides {
        let is = |id: &str| self.given.contains(id);
        let texts = |blocks: &BTreeSet<IpNet>| blocks.iter().map(ToString::to_string).collect();
        let (nodes, node_blocks) = match &options.nodes {
            Nodes::Addresses => (WrittenNodes::Addresses, None),
            Nodes::Blocks => (WrittenNodes::Blocks, None),
            Nodes::Given(blocks) => (WrittenNodes::Given, Some(texts(blocks))),
        };
        let blocks = || u32::try_from(options.budget.blocks).unwrap_or(u32::MAX);
        let groups = || {
            let all = options.cidr_groups.iter();
            all.map(|(name, blocks)| (name.clone(), texts(blocks)))
                .collect()
        };
        Overrides {
            options: OptionsSpec {
                dns: is("dns").then_some(options.dns),
                one_way: is("one_way").then_some(options.one_way),
                external: is("external").then_some(options.external),
                external_addresses: None,
                blocks: is("external_blocks").then(blocks),
                beyond: is("external_beyond").then_some(options.budget.beyond),
                cidr_groups: is("cidr_group").then(groups),
                cluster_ranges: is("cluster_cidr").then(|| texts(&options.cluster_ranges)),
                ranges: is("ranges").then_some(options.ranges),
                peers: is("peers").then_some(options.peers),
                nodes: is("node_cidr").then_some(nodes),
                node_blocks: node_blocks.filter(|_| is("node_cidr")),
                cni: is("cni").then(|| options.cni.to_string()),
            },
            rejected: options.reject.iter().map(|edge| edge.0.clone()).collect(),
            default_deny: options.default_deny,
        }
    }
}

impl Choices {
    /// The options that the flags ask for.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or a word that means nothing; the message names the file and line, or the flag.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        Ok(Options {
            dns: self.dns,
            one_way: self.one_way,
            external: self.external,
            budget: Budget {
                blocks: self.external_blocks,
                beyond: self.external_beyond,
            },
            cidr_groups: groups(&self.cidr_group)?,
            cluster_ranges: self.cluster_cidr.iter().copied().collect(),
            ranges: self.ranges,
            peers: self.peers,
            nodes: nodes(&self.node_cidr)?,
            default_deny: self.default_deny,
            reject: rejected(&self.reject)?,
            cni: self.cni,
            ..Options::default()
        })
    }
}

/// A block of addresses without bits behind its prefix.
fn cidr(text: &str) -> Result<IpNet, String> {
    let block: IpNet = text.parse().map_err(|_| {
        format!("{text:?} is no block of addresses: write ADDRESS/LENGTH, as in 203.0.113.0/24")
    })?;
    match block == block.trunc() {
        true => Ok(block),
        false => Err(format!(
            "{block} has bits set behind its prefix: write {}",
            block.trunc()
        )),
    }
}

fn checked_cidr(text: &str) -> anyhow::Result<IpNet> {
    cidr(text.trim()).map_err(anyhow::Error::msg)
}

fn nodes(texts: &[String]) -> anyhow::Result<Nodes> {
    match texts {
        [] => Ok(Nodes::Addresses),
        [auto] if auto == AUTO => Ok(Nodes::Blocks),
        blocks => {
            let blocks = blocks.iter().map(|text| checked_cidr(text));
            let blocks: anyhow::Result<BTreeSet<IpNet>> = blocks.collect();
            Ok(Nodes::Given(blocks.context("--node-cidr")?))
        }
    }
}

fn groups(texts: &[String]) -> anyhow::Result<BTreeMap<String, BTreeSet<IpNet>>> {
    let mut groups: BTreeMap<String, BTreeSet<IpNet>> = BTreeMap::new();
    for text in texts {
        each(
            text,
            "--cidr-group",
            |text| text.contains('='),
            |line| {
                let (name, blocks) = group(line)?;
                groups.entry(name).or_default().extend(blocks);
                Ok(())
            },
        )?;
    }
    Ok(groups)
}

/// `NAME=CIDR[,CIDR…]`.
fn group(text: &str) -> anyhow::Result<(String, BTreeSet<IpNet>)> {
    let Some((name, blocks)) = text.split_once('=') else {
        bail!("{text:?} is no group: write NAME=CIDR[,CIDR], as in payments=203.0.113.0/24");
    };
    let name = name.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(fits) {
        bail!(
            "{name:?} is no name of a group: write letters, digits, dots, dashes and underscores"
        );
    }
    let blocks: anyhow::Result<BTreeSet<IpNet>> = blocks.split(',').map(checked_cidr).collect();
    Ok((name.to_owned(), blocks?))
}

/// The edges that a person rejects.
///
/// # Errors
///
/// As [`Choices::options`].
pub(super) fn rejected(texts: &[String]) -> anyhow::Result<BTreeSet<RejectedEdge>> {
    let mut edges = BTreeSet::new();
    for text in texts {
        each(
            text,
            "--reject",
            |text| text.contains("->"),
            |line| {
                edges.insert(line.parse()?);
                Ok(())
            },
        )?;
    }
    Ok(edges)
}

/// Takes in a value that stands for itself, or each line of the file that it names. Lines that are empty or begin with
/// `#` are passed over.
fn each(
    text: &str,
    flag: &str,
    is_value: impl Fn(&str) -> bool,
    mut take: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if is_value(text) {
        return take(text.trim()).with_context(|| flag.to_owned());
    }
    let file = fs::read_to_string(Path::new(text))
        .with_context(|| format!("{flag} {text} is no value, and cannot be read as a file"))?;
    for (number, line) in file.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            take(line).with_context(|| format!("{flag} {text}, line {}", number + 1))?;
        }
    }
    Ok(())
}
