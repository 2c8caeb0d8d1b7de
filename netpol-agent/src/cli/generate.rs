//! `kubectl-netpol generate`: policies that allow what was seen.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::inputs::Inputs;
use super::out_dir;
use super::output::{note, print};
use crate::policy::emit::kubernetes;
use crate::policy::{Cluster, Dns, OneWay, Options, Policy, synthesise};

/// Write NetworkPolicies that allow exactly the traffic that was seen
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// How to write them
    #[arg(
        long,
        short,
        env = "NETPOL_OUTPUT",
        value_enum,
        default_value = "yaml",
        value_name = "FORMAT"
    )]
    output: Format,
    /// Write DIR/<namespace>/<policy>.yaml instead of to stdout; DIR must be absent, empty, or written by this
    /// command before
    #[arg(long, env = "NETPOL_OUT_DIR", value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Leave out the comments that name the traffic each rule rests on
    #[arg(long, env = "NETPOL_NO_EVIDENCE")]
    no_evidence: bool,
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
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// Documents of one YAML stream
    Yaml,
    /// One v1 List
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.out_dir.is_some() && self.output != Format::Yaml {
            bail!("--out-dir writes YAML: leave out -o json, or redirect stdout to a file");
        }
        if let Some(dir) = &self.out_dir {
            out_dir::check(dir)?;
        }
        let loaded = self.inputs.load()?;
        let options = Options {
            dns: self.dns,
            one_way: self.one_way,
            ..Options::default()
        };
        let proposal = synthesise(&loaded.graph, &Cluster::of(&loaded.index), &options);
        proposal
            .findings
            .iter()
            .for_each(|finding| note("finding", finding));
        match (&self.out_dir, self.output) {
            (Some(dir), _) => out_dir::write(dir, &self.files(&proposal.policies))?,
            (None, Format::Yaml) => {
                print(kubernetes::yaml_stream(&proposal.policies, !self.no_evidence).as_bytes())?;
            }
            (None, Format::Json) => print(kubernetes::json(&proposal.policies).as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn files(&self, policies: &[Policy]) -> Vec<out_dir::PolicyFile> {
        let file = |policy: &Policy| out_dir::PolicyFile {
            namespace: policy.workload.namespace.clone(),
            name: policy.name.clone(),
            text: kubernetes::yaml(policy, !self.no_evidence),
        };
        policies.iter().map(file).collect()
    }
}
