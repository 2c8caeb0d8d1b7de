//! What can go wrong between a person and a cluster, and what to do about it.

use std::error::Error;
use std::time::Duration;

use kube::config::KubeconfigError;

/// Why a cluster did not answer, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no kubeconfig.
    #[error(
        "no cluster to ask: there is no kubeconfig at {path}. Name one with --kubeconfig or KUBECONFIG, or read files \
         with --inventory and --flows"
    )]
    NoKubeconfig {
        /// Where it was looked for.
        path: String,
    },
    /// There is one that says nothing useful.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// No connection, or none that can be trusted.
    #[error("{action}: the API server {server} cannot be reached: {reason}")]
    Unreachable {
        /// What was asked for.
        action: String,
        /// The URL of the API server.
        server: String,
        /// Why.
        reason: String,
    },
    /// A certificate is not valid any more, or not yet.
    #[error(
        "{action}: a certificate on the way to the API server {server} has expired or is not valid yet: renew it in the \
         kubeconfig, or set the clock of this machine ({reason})"
    )]
    Expired {
        /// What was asked for.
        action: String,
        /// The URL of the API server.
        server: String,
        /// What TLS said.
        reason: String,
    },
    /// The credential is no good.
    #[error(
        "{action}: the API server {server} does not know who you are: log in again, or choose another --context"
    )]
    Unauthorized {
        /// What was asked for.
        action: String,
        /// The URL of the API server.
        server: String,
    },
    /// The credential is good, and its rights do not suffice.
    #[error("you may not {action}: ask for that right, or choose another --context ({message})")]
    Forbidden {
        /// What was asked for.
        action: String,
        /// What the API server says about it.
        message: String,
    },
    /// Not there.
    #[error("{action}: there is no such object")]
    NotFound {
        /// What was asked for.
        action: String,
    },
    /// The API server says no for another reason.
    #[error("{action}: {message}")]
    Refused {
        /// What was asked for.
        action: String,
        /// What the API server says about it.
        message: String,
        /// The status of HTTP.
        code: u16,
    },
    /// No answer in time.
    #[error("{action}: no answer within {} s: try again, or give a longer --request-timeout", patience.as_secs())]
    Slow {
        /// What was asked for.
        action: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// netpol is not there.
    #[error(
        "netpol is not installed in namespace {namespace}: run `kubectl netpol install`, or name its namespace with \
         --netpol-namespace"
    )]
    NotInstalled {
        /// Where it was looked for.
        namespace: String,
    },
    /// The kind `LearnedPolicy` is not there.
    #[error(
        "the cluster does not know LearnedPolicies: run `kubectl netpol install`, or choose another --context"
    )]
    NoDefinition,
    /// netpol is there, and cannot answer yet.
    #[error(
        "netpol's aggregator in namespace {namespace} is not ready: {state}. Look at `kubectl -n {namespace} get pods`"
    )]
    NotReady {
        /// Where it is.
        namespace: String,
        /// What is known of it.
        state: String,
    },
    /// The way to the aggregator broke.
    #[error("netpol's aggregator (pod {pod}) cannot be reached through the API server: {reason}")]
    Tunnel {
        /// The pod.
        pod: String,
        /// Why.
        reason: String,
    },
    /// The aggregator's certificate is not netpol's.
    #[error(
        "netpol's aggregator (pod {pod}) does not prove who it is by the certificate authority in ConfigMap {config_map}: \
         {reason}. Nothing was sent to it"
    )]
    Untrusted {
        /// The pod.
        pod: String,
        /// Where the authority stands.
        config_map: String,
        /// What TLS said.
        reason: String,
    },
    /// The aggregator says no.
    #[error("netpol's aggregator does not answer {path}: {message}")]
    Aggregator {
        /// What was asked for.
        path: String,
        /// Its reason.
        message: String,
        /// The status of HTTP; nothing if there was no answer, or none that can be read.
        code: Option<u16>,
    },
}

impl ClusterError {
    /// Whether it may pass by itself, as while the aggregator restarts.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        use ClusterError::{Aggregator, NotReady, Slow, Tunnel, Unreachable};
        match self {
            NotReady { .. } | Slow { .. } | Tunnel { .. } | Unreachable { .. } => true,
            Aggregator { code, .. } => code.is_none_or(|code| code == 429 || code >= 500),
            _ => false,
        }
    }

    /// What an error of the client means for somebody who wanted `action` of the API server at `server`.
    #[must_use]
    pub(super) fn of(error: &kube::Error, action: String, server: &str) -> Self {
        let server = server.to_owned();
        match error {
            kube::Error::Api(status) => {
                let message = status.message.clone();
                match status.code {
                    401 => Self::Unauthorized { action, server },
                    403 => Self::Forbidden { action, message },
                    404 => Self::NotFound { action },
                    code => Self::Refused {
                        action,
                        message,
                        code,
                    },
                }
            }
            kube::Error::SerdeError(error) => Self::Refused {
                action,
                message: format!("the answer is not what was asked for: {error}"),
                code: 0,
            },
            kube::Error::UpgradeConnection(error) => Self::upgrade(error, action, server),
            other => Self::connection(other, action, server),
        }
    }

    fn upgrade(
        error: &kube::client::UpgradeConnectionError,
        action: String,
        server: String,
    ) -> Self {
        let message = error.to_string();
        let kube::client::UpgradeConnectionError::ProtocolSwitch(status) = error else {
            return Self::connection(error, action, server);
        };
        match status.as_u16() {
            401 => Self::Unauthorized { action, server },
            403 => Self::Forbidden { action, message },
            404 => Self::NotFound { action },
            code => Self::Refused {
                action,
                message,
                code,
            },
        }
    }

    fn connection(error: &(dyn Error + 'static), action: String, server: String) -> Self {
        let reason = innermost(error);
        if reason.contains("xpired") || reason.contains("NotValidYet") {
            return Self::Expired {
                action,
                server,
                reason,
            };
        }
        Self::Unreachable {
            action,
            server,
            reason,
        }
    }

    /// Why no client could be made.
    #[must_use]
    pub(super) fn kubeconfig(error: &KubeconfigError) -> Self {
        match error {
            KubeconfigError::ReadConfig(source, path)
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Self::NoKubeconfig {
                    path: path.display().to_string(),
                }
            }
            KubeconfigError::FindPath => Self::NoKubeconfig {
                path: "~/.kube/config".to_owned(),
            },
            KubeconfigError::CurrentContextNotSet => {
                Self::Kubeconfig("it has no current context: choose one with --context".to_owned())
            }
            KubeconfigError::LoadContext(name) => Self::Kubeconfig(format!(
                "it has no context {name:?}: `kubectl config get-contexts` lists them"
            )),
            other => Self::Kubeconfig(other.to_string()),
        }
    }

    /// Whether it was answered that there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether somebody else changed the object meanwhile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }
}

/// The last cause of an error, which says most, with the one before it where the last is short.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_aggregator_says_may_pass_unless_it_refuses() {
        let said = |code| ClusterError::Aggregator {
            path: "/v1/flows".to_owned(),
            message: "no".to_owned(),
            code,
        };
        for code in [None, Some(429), Some(500), Some(503)] {
            assert!(said(code).may_pass(), "{code:?}");
        }
        for code in [400, 401, 403, 404, 426] {
            assert!(!said(Some(code)).may_pass(), "{code}");
        }
    }
}
