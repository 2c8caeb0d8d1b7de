//! Where the objects and flows of a command come from: files, or a cluster. Behind it, everything is the same.

use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use netpol_common::record::FlowRecord;
use serde_json::json;

use super::cluster::{ClusterFlags, waiting};
use super::output::warn;
use crate::cluster::tunnel::Tunnel;
use crate::cluster::{ClusterError, Question, Reader, Session};
use crate::flows::{self, BadLines};
use crate::inventory::{self, Inventory};

/// How the flows of a cluster are called in messages.
const FLOWS: &str = "flows of the cluster";

/// How many policies are asked for at once.
const PAGE: u32 = 500;

/// Where the Kubernetes objects are.
#[derive(Args, Clone, Debug)]
pub struct Objects {
    /// Kubernetes objects: a file, a directory, or - for stdin; may be repeated. Without it, the cluster is asked
    #[arg(long, short = 'i', env = "NETPOL_INVENTORY", value_name = "PATH")]
    pub inventory: Vec<PathBuf>,
    /// Which cluster, if it is one.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// An opened origin.
pub(super) enum Origin<'a> {
    /// Files.
    Files(&'a [PathBuf]),
    /// A cluster with netpol in it.
    Cluster(Box<Live>),
}

/// A cluster, and the way to its aggregator.
pub(super) struct Live {
    pub(super) session: Session,
    tunnel: Tunnel,
}

/// Whether the policies that are in force matter to a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Policies {
    /// They do.
    InForce,
    /// They do not.
    Aside,
}

impl Objects {
    /// Opens the files, or a way to the cluster.
    ///
    /// # Errors
    ///
    /// What is missing on the way to the cluster.
    pub(super) fn open(&self) -> anyhow::Result<Origin<'_>> {
        if !self.inventory.is_empty() {
            return Ok(Origin::Files(&self.inventory));
        }
        let session = self.cluster.open()?;
        let tunnel = waiting("connecting to the aggregator", || session.tunnel())?;
        Ok(Origin::Cluster(Box::new(Live { session, tunnel })))
    }

    /// The objects. Tells on stderr what a person should know of them.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read.
    pub(super) fn read(&self, policies: Policies) -> anyhow::Result<Inventory> {
        self.open()?.inventory(policies)
    }
}

impl Origin<'_> {
    /// The objects. Tells on stderr what a person should know of them.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read.
    pub(super) fn inventory(&mut self, policies: Policies) -> anyhow::Result<Inventory> {
        let inventory = match self {
            Self::Files(paths) => inventory::read(paths)?,
            Self::Cluster(live) => live.inventory(policies)?,
        };
        inventory.warnings.iter().for_each(warn);
        Ok(inventory)
    }
}

impl Live {
    fn inventory(&mut self, policies: Policies) -> anyhow::Result<Inventory> {
        // A policy says something of other namespaces' workloads too, so that part of a cluster is not enough.
        let question = Question::Inventory { namespace: None };
        let text = waiting("reading the cluster's objects", || {
            self.session.text(&mut self.tunnel, &question)
        })?;
        let mut inventory = inventory::parse("the cluster's inventory", &text)?;
        if policies == Policies::InForce && inventory.policies.is_empty() {
            let found = self.policies()?;
            inventory.policies = found.policies;
            inventory.warnings.extend(found.warnings);
        }
        Ok(inventory)
    }

    /// The NetworkPolicies that the person may list.
    fn policies(&self) -> anyhow::Result<Inventory> {
        let listed = waiting("reading the policies in force", || {
            self.session.wait(list_policies(&self.session))
        })?;
        if listed.is_empty() {
            return Ok(Inventory::default());
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": listed});
        Ok(inventory::parse_policies(
            "the cluster's policies",
            &list.to_string(),
        )?)
    }

    /// Every flow of a namespace, or of all.
    pub(super) fn each_flow(
        &mut self,
        namespace: Option<&str>,
        bad: BadLines,
        mut each: impl FnMut((&str, u64), &FlowRecord),
    ) -> anyhow::Result<flows::Summary> {
        let question = Question::Flows {
            namespace: namespace.map(str::to_owned),
            follow: false,
        };
        let live = self;
        let read = || {
            let reader = live.session.ask(&mut live.tunnel, &question)?;
            let reader = BufReader::new(reader);
            flows::read_numbered(FLOWS, reader, bad, |line, record| {
                each((FLOWS, line), &record);
            })
            .context("the aggregator's answer")
        };
        waiting("reading the cluster's flows", read)
    }

    /// The lines of every flow from now on.
    pub(super) fn follow(&mut self, namespace: Option<&str>) -> Result<Reader<'_>, ClusterError> {
        let question = Question::Flows {
            namespace: namespace.map(str::to_owned),
            follow: true,
        };
        self.session.ask(&mut self.tunnel, &question)
    }

    /// Connects to the aggregator again, with a new token.
    pub(super) fn reopen(&mut self) -> Result<(), ClusterError> {
        self.tunnel = waiting("connecting to the aggregator", || self.session.tunnel())?;
        Ok(())
    }
}

async fn list_policies(session: &Session) -> anyhow::Result<Vec<NetworkPolicy>> {
    let cluster = session.cluster();
    let api: Api<NetworkPolicy> = Api::all(cluster.client.clone());
    let mut parameters = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api.list(&parameters);
        let page = cluster.ask("list networkpolicies.networking.k8s.io", page);
        let page = page.await?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items.into_iter().map(trimmed));
        match next {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn trimmed(mut policy: NetworkPolicy) -> NetworkPolicy {
    policy.managed_fields_mut().clear();
    policy
}
