//! What readers may see: whoever may get LearnedPolicies of a namespace may read what is known of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use netpol_common::GROUP;
use netpol_common::names::cluster;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::cache::Cache;
use super::token::{Hash, Token};
use super::user::User;
use crate::aggregator::refusal::Refusal;

/// How long an answer is believed.
const BELIEVED: SignedDuration = SignedDuration::from_secs(30);
/// Answers remembered at most.
const ANSWERS: usize = 10_000;
/// Reviews at the same time; who finds no seat waits.
const AT_ONCE: usize = 8;
/// How long a review may take, waiting included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the API server what somebody may do.
pub(super) struct Access {
    client: Client,
    answers: Mutex<Cache<(Hash, Option<String>), bool>>,
    seats: Semaphore,
}

impl Access {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            answers: Mutex::new(Cache::new(ANSWERS)),
            seats: Semaphore::new(AT_ONCE),
        }
    }

    /// Checks that a user may read what is known of a namespace, or of all of them.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], or [`Refusal::Unasked`].
    pub(super) async fn check(
        &self,
        token: &Token,
        user: &User,
        namespace: Option<&str>,
    ) -> Result<(), Refusal> {
        let key = (token.hash(), namespace.map(str::to_owned));
        let known = self.answers().get(&key, Timestamp::now());
        let allowed = match known {
            Some(allowed) => allowed,
            None => self.ask(token, user, key).await?,
        };
        if allowed {
            return Ok(());
        }
        let place = namespace.map_or("in all namespaces".to_owned(), |name| {
            format!("in namespace {name:?}")
        });
        Err(Refusal::Forbidden(format!(
            "{} may not get {}.{GROUP} {place}, which is what reading here takes",
            user.name(),
            cluster::PLURAL
        )))
    }

    async fn ask(
        &self,
        token: &Token,
        user: &User,
        key: (Hash, Option<String>),
    ) -> Result<bool, Refusal> {
        let asked = timeout(PATIENCE, self.seated(user, key.1.clone())).await;
        let seconds = PATIENCE.as_secs();
        let allowed = asked
            .map_err(|_| Refusal::Unasked(format!("no answer within {seconds} s")))?
            .map_err(|error| Refusal::Unasked(error.to_string()))?;
        let now = Timestamp::now();
        let until = now.saturating_add(BELIEVED).unwrap_or(now);
        let until = token.expires().map_or(until, |expires| until.min(expires));
        self.answers().insert(key, allowed, until);
        Ok(allowed)
    }

    async fn seated(&self, user: &User, namespace: Option<String>) -> kube::Result<bool> {
        let _seat = self.seats.acquire().await;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                uid: user.uid.clone(),
                groups: Some(user.groups.clone()),
                extra: Some(user.extra.clone()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.to_owned()),
                    resource: Some(cluster::PLURAL.to_owned()),
                    verb: Some("get".to_owned()),
                    namespace,
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await?;
        Ok(answer
            .status
            .is_some_and(|status| status.allowed && status.denied != Some(true)))
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Cache<(Hash, Option<String>), bool>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
