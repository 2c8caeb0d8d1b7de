//! Who is at the other end: node agents, and people who read.
//!
//! A bearer token is reviewed by the API server for our audience. A node agent is whoever bears a token of the agents'
//! ServiceAccount that is bound to a pod which the index knows, under that uid, on the node that it speaks for. A reader is
//! whoever may get LearnedPolicies.

mod access;
mod cache;
mod review;
mod token;
mod user;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderMap;
use jiff::Timestamp;
use kube::Client;
use netpol_common::names::{ObjectName, cluster};

use super::limits::Limits;
use super::rates::Rates;
use super::refusal::Refusal;
use crate::identity::Index;
use crate::keeper::SharedIndex;
use crate::observe::{ObjectIdentity, PodIdentity};
use access::Access;
use review::Reviewer;
use token::Token;
use user::{BoundPod, User};

pub(super) use review::ReviewCounts;

/// Tells who is at the other end.
pub(super) struct Authority {
    namespace: String,
    reviewer: Arc<Reviewer>,
    access: Access,
    /// Tokens that turned out to be no good, by address.
    failures: Mutex<Rates<IpAddr>>,
}

/// A node agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Agent {
    /// Its node.
    pub(super) node: String,
    /// `metadata.uid` of its pod.
    pub(super) pod_uid: String,
}

impl Authority {
    /// `namespace` is that of the agents.
    pub(super) fn new(client: Client, namespace: &str, limits: &Limits) -> Self {
        Self {
            namespace: namespace.to_owned(),
            reviewer: Arc::new(Reviewer::new(client.clone(), cluster::AUDIENCE)),
            access: Access::new(client),
            failures: Mutex::new(Rates::new(limits.failures)),
        }
    }

    /// The node agent that bears the token of a request.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub(super) async fn agent(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        index: &SharedIndex,
    ) -> Result<Agent, Refusal> {
        let token = Token::of(headers)?;
        let user = self.user(&token, peer).await?;
        if !user.is_account(&self.namespace, cluster::AGENT_ACCOUNT) {
            return Err(Refusal::Forbidden(format!(
                "{} is not the ServiceAccount {} of namespace {}, whose pods alone may deliver",
                user.name(),
                cluster::AGENT_ACCOUNT,
                self.namespace
            )));
        }
        let bound = user.pod().ok_or_else(|| {
            Refusal::Forbidden(
                "the token is not bound to a pod: use a projected one, or ask for one with a pod as boundObjectRef"
                    .to_owned(),
            )
        })?;
        place(&self.namespace, &bound, &index.read())
    }

    /// Checks that the token of a request may read what is known of a namespace, or of all of them.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub(super) async fn reader(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        namespace: Option<&str>,
    ) -> Result<(), Refusal> {
        let token = Token::of(headers)?;
        let user = self.user(&token, peer).await?;
        self.access.check(&token, &user, namespace).await
    }

    /// How often the API server was asked about tokens.
    pub(super) fn reviews(&self) -> ReviewCounts {
        self.reviewer.counts()
    }

    async fn user(&self, token: &Token, peer: IpAddr) -> Result<Arc<User>, Refusal> {
        let now = Timestamp::now();
        token.look(cluster::AUDIENCE, now)?;
        if let Some(verdict) = self.reviewer.known(token, now) {
            return verdict;
        }
        // Taken before the question, so that many bad tokens at once are not asked about either.
        self.note_failure(peer, 1.0, now)?;
        let verdict = self.reviewer.ask(token).await;
        if !matches!(verdict, Err(Refusal::BadToken(_))) {
            let _given_back = self.note_failure(peer, -1.0, now);
        }
        verdict
    }

    fn note_failure(&self, peer: IpAddr, count: f64, now: Timestamp) -> Result<(), Refusal> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let what = "too many tokens from this address that are no good";
        failures
            .take(peer.to_canonical(), count, now)
            .map_err(|wait| Refusal::TooMany { what, wait })
    }
}

/// The agent of that pod, by what the index knows of it.
fn place(namespace: &str, bound: &BoundPod, index: &Index) -> Result<Agent, Refusal> {
    let own = PodIdentity {
        name: ObjectIdentity {
            namespace: namespace.to_owned(),
            name: bound.name.clone(),
        },
        uid: bound.uid.clone(),
    };
    let pod = index.pod(&ObjectName::new(namespace, &bound.name));
    let Some(pod) = pod else {
        return Err(Refusal::UnknownPod(own));
    };
    if pod.uid != bound.uid {
        return Err(Refusal::Forbidden(format!(
            "the token is bound to pod {} with uid {}, but that pod has uid {}",
            bound.name, bound.uid, pod.uid
        )));
    }
    let Some(node) = &pod.node else {
        return Err(Refusal::UnknownPod(own));
    };
    if let Some(told) = &bound.node
        && told != node
    {
        return Err(Refusal::OtherNode {
            own: told.clone(),
            other: node.clone(),
        });
    }
    Ok(Agent {
        node: node.clone(),
        pod_uid: bound.uid.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::objects::{NamespacedName, Object, Pod};

    fn bound(uid: &str, node: Option<&str>) -> BoundPod {
        BoundPod {
            name: "netpol-agent-x".to_owned(),
            uid: uid.to_owned(),
            node: node.map(str::to_owned),
        }
    }

    fn index(node: Option<&str>) -> Index {
        let mut index = Index::default();
        let pod = Pod {
            name: NamespacedName {
                namespace: "netpol-system".to_owned(),
                name: "netpol-agent-x".to_owned(),
            },
            uid: "u1".to_owned(),
            node: node.map(str::to_owned),
            ..Pod::default()
        };
        index.apply(Object::Pod(pod), Timestamp::UNIX_EPOCH);
        index
    }

    #[test]
    fn an_agent_is_placed_by_the_index_and_the_token_must_agree() {
        let here = index(Some("n1"));
        let place = |bound: &BoundPod, index: &Index| place("netpol-system", bound, index);
        let agent = place(&bound("u1", None), &here).unwrap();
        assert_eq!((agent.node.as_str(), agent.pod_uid.as_str()), ("n1", "u1"));
        assert!(place(&bound("u1", Some("n1")), &here).is_ok());
        let elsewhere = place(&bound("u1", Some("n2")), &here);
        assert!(matches!(elsewhere, Err(Refusal::OtherNode { .. })));
        let replaced = place(&bound("u0", Some("n1")), &here);
        assert!(matches!(replaced, Err(Refusal::Forbidden(_))));
        let unscheduled = place(&bound("u1", Some("n1")), &index(None));
        assert!(matches!(unscheduled, Err(Refusal::UnknownPod(_))));
        let unknown = place(&bound("u1", Some("n1")), &Index::default());
        assert!(matches!(unknown, Err(Refusal::UnknownPod(_))));
    }
}
