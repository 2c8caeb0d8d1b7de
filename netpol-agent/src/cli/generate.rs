//! `kubectl-netpol generate`: policies that allow what was seen.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::complete;
use super::inputs::{Inputs, Loaded, check_stdin};
use super::options::Given;
use super::output::{note, print};
use super::reading::ReadingFlags;
use super::wishes::Wishes;
use super::{out_dir, policies};
use crate::control::Basis;
use crate::policy::against::{Existing, missing};
use crate::policy::emit::{Format, calico, cilium};
use crate::policy::evaluate::World;
use crate::policy::{Policy, Proposal, synthesise_for};

/// Write NetworkPolicies that allow exactly the traffic that was seen
///
/// From a cluster, these are the policies that would be written there: what people approved, rejected and chose in
/// LearnedPolicies and annotations counts, and so does what is frozen. A flag that is given comes before their options.
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
    choices: Given,
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
        let mut origin = self.inputs.open()?;
        let loaded = self.inputs.load_from(&mut origin)?;
        let wishes = Wishes::read(&origin, loaded.namespace.as_deref())?;
        let basis = wishes.basis(&loaded, &self.choices, &options);
        let mut proposal = self.proposal(&loaded, &basis)?;
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
        complete::tell(
            &loaded,
            &basis.options,
            &proposal.policies,
            &wishes.statuses(),
        );
        wishes.tell_unseen(&proposal.policies);
        if !self.no_evidence {
            complete::annotate(&loaded, &basis.options, &mut proposal.policies);
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

    fn proposal(&self, loaded: &Loaded, basis: &Basis<'_>) -> anyhow::Result<Proposal> {
        if self.against.is_empty() {
            let mut proposal = synthesise_for(&basis.graph, &basis.cluster, &basis.options);
            basis.fit(&mut proposal);
            basis.name(&mut proposal.policies);
            tell_unlike(basis, &proposal.policies);
            return Ok(proposal);
        }
        let read = policies::read(&self.against)?;
        policies::tell_others(&read.other_policies);
        let read: Vec<NetworkPolicy> = read.policies.into_iter().map(|each| each.policy).collect();
        let existing = Existing {
            world: &World::of(&loaded.index),
            policies: &read,
            reading: self.reading.reading(),
        };
        let mut missing = missing(&basis.graph, &basis.cluster, &basis.options, &existing);
        let remarks = missing.remarks.iter();
        remarks.for_each(|remark| note("finding", remark));
        basis.fit(&mut missing.proposal);
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

/// Tells where the controller would write something else: it may not have looked since somebody decided, or know more.
fn tell_unlike(basis: &Basis<'_>, policies: &[Policy]) {
    for name in basis.unlike(policies) {
        note(
            "finding",
            format_args!(
                "NotAsProposed: LearnedPolicy {name} says something else in status.proposal as yet (`kubectl get lp -o yaml`)"
            ),
        );
    }
}
