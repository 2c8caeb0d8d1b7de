//! From a kubeconfig to a client.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::error::ClusterError;

/// Which cluster is asked, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The kubeconfig; else the one of `KUBECONFIG`, else the one at home, else the ServiceAccount of this pod.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it, if not the current one.
    pub context: Option<String>,
    /// Somebody else to act as.
    pub act_as: Option<String>,
    /// Groups to act in.
    pub act_as_groups: Vec<String>,
    /// How long an answer is waited for.
    pub patience: Duration,
    /// Where netpol is installed.
    pub netpol_namespace: String,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Cluster {
    /// A client of its API server.
    pub client: Client,
    /// The URL of its API server, for messages.
    pub server: String,
    /// The namespace that the context names, else `default`.
    pub namespace: String,
    /// Where netpol is installed.
    pub netpol_namespace: String,
    /// How long an answer is waited for.
    pub patience: Duration,
}

impl Cluster {
    /// A client for a target. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// A kubeconfig that is not there or cannot be used.
    pub async fn connect(target: &Target) -> Result<Self, ClusterError> {
        let mut config = config(target).await?;
        if let Some(name) = &target.act_as {
            config.auth_info.impersonate = Some(name.clone());
        }
        if !target.act_as_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(target.act_as_groups.clone());
        }
        let server = config.cluster_url.to_string();
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config)
            .map_err(|error| ClusterError::Kubeconfig(super::error::innermost(&error)))?;
        Ok(Self {
            client,
            server,
            namespace,
            netpol_namespace: target.netpol_namespace.clone(),
            patience: target.patience,
        })
    }

    /// Waits for an answer of the API server, and says in words what it means if it is none. `action` goes on after
    /// "you may not", as in "list pods in namespace shop".
    ///
    /// # Errors
    ///
    /// What the API server answers, or that it does not.
    pub async fn ask<T>(
        &self,
        action: impl Display,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(self.patience, request).await {
            Err(_) => Err(ClusterError::Slow {
                action: action.to_string(),
                patience: self.patience,
            }),
            Ok(answer) => {
                answer.map_err(|error| ClusterError::of(&error, action.to_string(), &self.server))
            }
        }
    }
}

async fn config(target: &Target) -> Result<Config, ClusterError> {
    let kubeconfig = match &target.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..KubeConfigOptions::default()
    };
    let loaded = match kubeconfig {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        Err(error) => Err(error),
    };
    let within_pod = || {
        Config::incluster()
            .ok()
            .filter(|_| target.kubeconfig.is_none())
    };
    match loaded {
        Ok(config) => Ok(config),
        Err(error @ (KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath)) => {
            within_pod().ok_or_else(|| ClusterError::kubeconfig(&error))
        }
        Err(error) => Err(ClusterError::kubeconfig(&error)),
    }
}
