//! What the person may do, asked before anything is done.

use std::fmt;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::connect::Cluster;
use super::error::ClusterError;

/// Something that the API server grants or does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Right<'a> {
    /// As in `patch`.
    pub verb: &'a str,
    /// The API group; nothing for the core group.
    pub group: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// The namespace; none for what has none.
    pub namespace: Option<&'a str>,
    /// The object; none for all of them.
    pub name: Option<&'a str>,
}

impl fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = self.name {
            write!(f, " {name:?}")?;
        }
        match self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace:?}"),
            None => Ok(()),
        }
    }
}

/// Whether the API server would grant a right; else why not.
///
/// # Errors
///
/// Whatever the API server answers to the question itself.
pub async fn may(cluster: &Cluster, right: Right<'_>) -> Result<Result<(), String>, ClusterError> {
    let text = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        verb: text(right.verb),
        group: text(right.group),
        resource: text(right.resource),
        namespace: right.namespace.and_then(text),
        name: right.name.and_then(text),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let parameters = PostParams::default();
    let asked = api.create(&parameters, &review);
    let answer = cluster.ask(format!("ask whether you may {right}"), asked);
    let status = answer.await?.status.unwrap_or_default();
    let reason = || status.reason.clone().filter(|reason| !reason.is_empty());
    Ok(match status.allowed {
        true => Ok(()),
        false => Err(reason().unwrap_or_else(|| "no rule grants it".to_owned())),
    })
}

/// As [`may`], where a no is the end of it.
///
/// # Errors
///
/// [`ClusterError::Forbidden`] besides.
pub async fn require(cluster: &Cluster, right: Right<'_>) -> Result<(), ClusterError> {
    may(cluster, right)
        .await?
        .map_err(|message| ClusterError::Forbidden {
            action: right.to_string(),
            message,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_told_as_kubectl_auth_would() {
        let mut right = Right {
            verb: "patch",
            group: "netpol.io",
            resource: "learnedpolicies",
            namespace: Some("shop"),
            name: None,
        };
        let told = "patch learnedpolicies.netpol.io in namespace \"shop\"";
        assert_eq!(right.to_string(), told);
        (right.group, right.namespace, right.name) = ("", None, Some("shop"));
        right.resource = "namespaces";
        assert_eq!(right.to_string(), "patch namespaces \"shop\"");
    }
}
