//! The flags that say which cluster is asked, and the words around asking it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use netpol_common::names::cluster::NAMESPACE;

use super::progress::Waiting;
use crate::cluster::{ClusterError, Session, Target};

/// Which cluster is asked, and as whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Which cluster")]
pub struct ClusterFlags {
    /// The kubeconfig to use instead of KUBECONFIG or ~/.kube/config
    #[arg(long, env = "NETPOL_KUBECONFIG", value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use instead of the current one
    #[arg(long, env = "NETPOL_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Act as this user
    #[arg(long = "as", env = "NETPOL_AS", value_name = "USER")]
    pub act_as: Option<String>,
    /// Act in this group; may be repeated
    #[arg(
        long = "as-group",
        env = "NETPOL_AS_GROUP",
        value_name = "GROUP",
        value_delimiter = ',',
        requires = "act_as"
    )]
    pub act_as_groups: Vec<String>,
    /// How long to wait for one answer, in seconds
    #[arg(
        long,
        env = "NETPOL_REQUEST_TIMEOUT",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds
    )]
    pub request_timeout: Duration,
    /// The namespace that netpol is installed in
    #[arg(long, env = "NETPOL_SYSTEM_NAMESPACE", value_name = "NAMESPACE", default_value = NAMESPACE)]
    pub netpol_namespace: String,
}

/// Which namespaces a command is about.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which namespaces")]
pub struct NamespaceFlags {
    /// The namespace, instead of the one of the context; with files, instead of all
    #[arg(long, short, env = "NETPOL_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// All namespaces
    #[arg(
        long,
        short = 'A',
        env = "NETPOL_ALL_NAMESPACES",
        conflicts_with = "namespace"
    )]
    pub all_namespaces: bool,
}

impl ClusterFlags {
    /// Connects to the cluster.
    ///
    /// # Errors
    ///
    /// A kubeconfig that is not there or cannot be used.
    pub fn open(&self) -> Result<Session, ClusterError> {
        Session::open(&Target {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            act_as: self.act_as.clone(),
            act_as_groups: self.act_as_groups.clone(),
            patience: self.request_timeout,
            netpol_namespace: self.netpol_namespace.clone(),
        })
    }
}

impl NamespaceFlags {
    /// The namespace that a command against a cluster is about; none if it is about all.
    #[must_use]
    pub fn of(&self, session: &Session) -> Option<String> {
        let current = || session.cluster().namespace.clone();
        let given = self.namespace.clone();
        (!self.all_namespaces).then(|| given.unwrap_or_else(current))
    }
}

/// Waits for something, and shows what it is on a terminal if that takes a while.
pub(super) fn waiting<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let _shown = Waiting::new(what);
    work()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let text = text.strip_suffix('s').unwrap_or(text);
    match text.parse::<u64>() {
        Ok(seconds @ 1..=3_600) => Ok(Duration::from_secs(seconds)),
        _ => Err("give seconds from 1 to 3600".to_owned()),
    }
}
