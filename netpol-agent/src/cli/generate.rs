//! `kubectl-netpol generate`: policies that allow what was seen.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::complete;
use super::inputs::{Inputs, Loaded, check_stdin};
use super::options::Choices;
use super::output::{note, print};
use super::reading::ReadingFlags;
use super::{out_dir, policies};
use crate::policy::against::{Existing, missing};
use crate::policy::emit::{Format, calico, cilium};
use crate::policy::evaluate::World;
use crate::policy::options::OptionsFor;
use crate::policy::{Cluster, Options, Policy, Proposal, synthesise};

/// Write NetworkPolicies that allow exactly the traffic that was seen
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// How to write them
    #[arg(
        long,
        short,
        env = "NETPOL_GENERATE_OUTPUT",
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
    /// Write only what is missing beside the policies in P (a file, a directory, or - for stdin; may be repeated),
    /// and tell what they already allow and which of their rules nothing uses
    #[arg(long, env = "NETPOL_AGAINST", value_name = "P")]
    against: Vec<PathBuf>,
    #[command(flatten)]
    reading: ReadingFlags,
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
        check_stdin(self.inputs.paths().chain(&self.against))?;
        let loaded = self.inputs.load()?;
        let mut proposal = self.proposal(&loaded, &options)?;
        if let Some(namespace) = &loaded.namespace {
            let own = |policy: &Policy| policy.workload.namespace == *namespace;
            proposal.policies.retain(own);
            proposal
                .findings
                .retain(|finding| finding.is_about(namespace));
        }
        let findings = proposal.findings.iter();
        findings
            .filter(|finding| !(self.output == Format::Cilium && cilium::mends(finding)))
            .for_each(|finding| note("finding", finding));
        complete::tell(&loaded, &options, &proposal.policies);
        if !self.no_evidence {
            complete::annotate(&loaded, &options, &mut proposal.policies);
        }
        let remarks = match self.output {
            Format::Cilium => cilium::remarks(&proposal.policies),
            Format::Calico => calico::remarks(&proposal.policies),
            _ => Vec::new(),
        };
        remarks.iter().for_each(|remark| note("finding", remark));
        self.write(&proposal.policies)?;
        Ok(ExitCode::SUCCESS)
    }

    fn proposal(&self, loaded: &Loaded, options: &Options) -> anyhow::Result<Proposal> {
        let cluster = Cluster::of(&loaded.index);
        if self.against.is_empty() {
            return Ok(synthesise(&loaded.graph, &cluster, options));
        }
        let read = policies::read(&self.against)?;
        policies::tell_others(&read.other_policies);
        let read: Vec<NetworkPolicy> = read.policies.into_iter().map(|each| each.policy).collect();
        let existing = Existing {
            world: &World::of(&loaded.index),
            policies: &read,
            reading: self.reading.reading(),
        };
        let options = OptionsFor::from(options.clone());
        let missing = missing(&loaded.graph, &cluster, &options, &existing);
        let remarks = missing.remarks.iter();
        remarks.for_each(|remark| note("finding", remark));
        Ok(missing.proposal)
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
