//! Who bears a token, as the API server tells it.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};

/// The prefix of a ServiceAccount's user name.
const ACCOUNT: &str = "system:serviceaccount:";
/// Where the API server notes the pod and the node that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Somebody whom the API server vouches for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct User {
    pub(super) name: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

/// The pod that a token is bound to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BoundPod {
    pub(super) name: String,
    pub(super) uid: String,
    /// Told from Kubernetes 1.30 on.
    pub(super) node: Option<String>,
}

impl User {
    /// Whom a review vouches for; else why it does not.
    pub(super) fn of(status: TokenReviewStatus, audience: &str) -> Result<Self, String> {
        if status.authenticated != Some(true) {
            let why = status.error.filter(|error| !error.is_empty());
            return Err(why.unwrap_or_else(|| "the API server does not accept it".to_owned()));
        }
        let audiences = status.audiences.unwrap_or_default();
        if !audiences.iter().any(|each| each == audience) {
            return Err(format!("it is not of audience {audience}"));
        }
        let user: UserInfo = status.user.unwrap_or_default();
        let name = user.username.filter(|name| !name.is_empty());
        Ok(Self {
            name: name.ok_or("the API server does not say whose it is")?,
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is that ServiceAccount.
    pub(super) fn is_account(&self, namespace: &str, account: &str) -> bool {
        let own = self.name.strip_prefix(ACCOUNT);
        own.and_then(|own| own.split_once(':')) == Some((namespace, account))
    }

    /// The pod that the token is bound to.
    pub(super) fn pod(&self) -> Option<BoundPod> {
        Some(BoundPod {
            name: self.only(POD_NAME)?,
            uid: self.only(POD_UID)?,
            node: self.only(NODE_NAME),
        })
    }

    fn only(&self, key: &str) -> Option<String> {
        match self.extra.get(key)?.as_slice() {
            [one] if !one.is_empty() => Some(one.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(authenticated: bool, audience: &str, name: &str) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(authenticated),
            audiences: Some(vec![audience.to_owned()]),
            user: Some(UserInfo {
                username: Some(name.to_owned()),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    #[test]
    fn only_what_is_authenticated_for_our_audience_counts() {
        assert!(User::of(status(true, "netpol", "jane"), "netpol").is_ok());
        assert!(User::of(status(false, "netpol", "jane"), "netpol").is_err());
        assert!(User::of(status(true, "other", "jane"), "netpol").is_err());
        assert!(User::of(status(true, "netpol", ""), "netpol").is_err());
        assert!(User::of(TokenReviewStatus::default(), "netpol").is_err());
        let mut silent = status(true, "netpol", "jane");
        silent.audiences = None;
        assert!(User::of(silent, "netpol").is_err());
    }

    #[test]
    fn an_account_is_told_by_its_whole_name() {
        let user = |name: &str| User {
            name: name.to_owned(),
            ..User::default()
        };
        let agent = "system:serviceaccount:netpol-system:netpol-agent";
        assert!(user(agent).is_account("netpol-system", "netpol-agent"));
        for other in [
            "system:serviceaccount:other:netpol-agent",
            "system:serviceaccount:netpol-system:netpol-agent2",
            "netpol-system:netpol-agent",
            "system:serviceaccount:netpol-system",
        ] {
            assert!(
                !user(other).is_account("netpol-system", "netpol-agent"),
                "{other}"
            );
        }
    }

    #[test]
    fn a_pod_is_only_told_by_name_and_uid_together() {
        let mut user = User::default();
        assert_eq!(user.pod(), None);
        user.extra.insert(POD_NAME.to_owned(), vec!["a".to_owned()]);
        assert_eq!(user.pod(), None);
        user.extra
            .insert(POD_UID.to_owned(), vec!["u".to_owned(), "v".to_owned()]);
        assert_eq!(user.pod(), None);
        user.extra.insert(POD_UID.to_owned(), vec!["u".to_owned()]);
        assert_eq!(user.pod().unwrap().uid, "u");
    }
}
