//! Tokens reviewed by the API server: each once in a while, and not many at the same time.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::cache::Cache;
use super::token::{Hash, Token};
use super::user::User;
use crate::aggregator::refusal::Refusal;

/// How long a good token is believed at most: one that was revoked is accepted for so long.
const BELIEVED: SignedDuration = SignedDuration::from_secs(290);
/// How long a bad one is not asked about again.
const DISBELIEVED: SignedDuration = SignedDuration::from_secs(15);
/// Good tokens remembered at most: more than there are nodes in any cluster.
const GOOD: usize = 20_000;
/// Bad ones.
const BAD: usize = 10_000;
/// Reviews at the same time.
const AT_ONCE: usize = 16;
/// Reviews that wait or are under way.
const WAITING: usize = 1_024;
/// How long a review may take, waiting included.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a review: the user, or why there is none.
type Verdict = Result<Arc<User>, Refusal>;

/// Asks the API server about tokens.
pub(super) struct Reviewer {
    client: Client,
    audience: String,
    memory: Mutex<Memory>,
    seats: Semaphore,
}

#[derive(Debug)]
struct Memory {
    good: Cache<Hash, Arc<User>>,
    bad: Cache<Hash, Refusal>,
    under_way: BTreeMap<Hash, Shared<BoxFuture<'static, Verdict>>>,
    /// Reviews so far: asked for, and those of them that the API server did not answer.
    counts: ReviewCounts,
}

/// How often the API server was asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ReviewCounts {
    /// Tokens that it vouched for.
    pub(crate) accepted: u64,
    /// Tokens that it did not.
    pub(crate) refused: u64,
    /// Questions that it did not answer.
    pub(crate) failed: u64,
}

impl Reviewer {
    pub(super) fn new(client: Client, audience: &str) -> Self {
        Self {
            client,
            audience: audience.to_owned(),
            memory: Mutex::new(Memory {
                good: Cache::new(GOOD),
                bad: Cache::new(BAD),
                under_way: BTreeMap::new(),
                counts: ReviewCounts::default(),
            }),
            seats: Semaphore::new(AT_ONCE),
        }
    }

    /// Who bears the token, if that is known without asking.
    pub(super) fn known(&self, token: &Token, now: Timestamp) -> Option<Verdict> {
        let memory = self.memory();
        let good = memory.good.get(&token.hash(), now);
        good.map(Ok)
            .or_else(|| memory.bad.get(&token.hash(), now).map(Err))
    }

    /// Asks who bears the token. Everybody who asks about one token at the same time shares one review, which goes on
    /// even if all of them go away.
    pub(super) fn ask(self: &Arc<Self>, token: &Token) -> Shared<BoxFuture<'static, Verdict>> {
        let mut memory = self.memory();
        if let Some(review) = memory.under_way.get(&token.hash()) {
            return review.clone();
        }
        if memory.under_way.len() >= WAITING {
            let busy = Err(Refusal::Busy("too many tokens are waiting to be reviewed"));
            return ready(busy).boxed().shared();
        }
        let task = tokio::spawn(Arc::clone(self).review(token.clone()));
        let outcome =
            task.map(|done| done.unwrap_or_else(|fault| Err(Refusal::Unasked(fault.to_string()))));
        let review = outcome.boxed().shared();
        memory.under_way.insert(token.hash(), review.clone());
        review
    }

    pub(super) fn counts(&self) -> ReviewCounts {
        self.memory().counts
    }

    async fn review(self: Arc<Self>, token: Token) -> Verdict {
        let outcome = timeout(PATIENCE, self.seated(&token)).await;
        let verdict = outcome.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            Err(Refusal::Unasked(format!("no answer within {seconds} s")))
        });
        self.memory().note(&token, &verdict, Timestamp::now());
        verdict
    }

    async fn seated(&self, token: &Token) -> Verdict {
        let _seat = self.seats.acquire().await;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.text().to_owned()),
                audiences: Some(vec![self.audience.clone()]),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| Refusal::Unasked(error.to_string()))?;
        let status = answer.status.unwrap_or_default();
        let user = User::of(status, &self.audience).map_err(Refusal::BadToken)?;
        Ok(Arc::new(user))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn note(&mut self, token: &Token, verdict: &Verdict, now: Timestamp) {
        let hash = token.hash();
        self.under_way.remove(&hash);
        match verdict {
            Ok(user) => {
                self.counts.accepted += 1;
                let until = now.saturating_add(BELIEVED).unwrap_or(now);
                let until = token.expires().map_or(until, |expires| until.min(expires));
                self.good.insert(hash, Arc::clone(user), until);
            }
            Err(bad @ Refusal::BadToken(_)) => {
                self.counts.refused += 1;
                let until = now.saturating_add(DISBELIEVED).unwrap_or(now);
                self.bad.insert(hash, bad.clone(), until);
            }
            Err(_) => self.counts.failed += 1,
        }
    }
}
