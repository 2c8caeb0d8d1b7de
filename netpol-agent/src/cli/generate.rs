//! `kubectl-netpol generate`: policies that allow what was seen.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::inputs::Inputs;
use super::options::Choices;
use super::out_dir;
use super::output::{note, print};
use crate::policy::emit::{Format, cilium};
use crate::policy::{Cluster, Policy, synthesise};

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
    /// Write DIR/<namespace>/<policy>.yaml (Terraform: .tf) instead of to stdout; DIR must be absent, empty, or
    /// written by this command before
    #[arg(long, env = "NETPOL_OUT_DIR", value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Leave out the comments that name the traffic each rule rests on
    #[arg(long, env = "NETPOL_NO_EVIDENCE")]
    no_evidence: bool,
    #[command(flatten)]
    choices: Choices,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match (&self.out_dir, self.output) {
            (Some(_), Format::Json) => {
                bail!("--out-dir writes no JSON: leave out -o json, or redirect stdout to a file")
            }
            (None, Format::Kustomize) => {
                bail!("-o kustomize writes a directory: add --out-dir DIR")
            }
            (Some(dir), _) => out_dir::check(dir)?,
            (None, _) => {}
        }
        let options = self.choices.options()?;
        let loaded = self.inputs.load()?;
        let proposal = synthesise(&loaded.graph, &Cluster::of(&loaded.index), &options);
        proposal
            .findings
            .iter()
            .for_each(|finding| note("finding", finding));
        if self.output == Format::Cilium {
            cilium::remarks(&proposal.policies)
                .iter()
                .for_each(|remark| note("finding", remark));
        }
        self.write(&proposal.policies)?;
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, policies: &[Policy]) -> anyhow::Result<()> {
        let (with_evidence, format) = (!self.no_evidence, self.output);
        match &self.out_dir {
            Some(dir) => out_dir::write(
                dir,
                &format.files(policies, with_evidence).unwrap_or_default(),
            ),
            None => print(
                format
                    .text(policies, with_evidence)
                    .unwrap_or_default()
                    .as_bytes(),
            ),
        }
    }
}
