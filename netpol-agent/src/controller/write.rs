//! Carries out decisions, write by write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{self, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource};
use netpol_common::names::ObjectName;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Options;
use super::known::Known;
use crate::control::{Change, Event, FIELD_MANAGER, Step};
use crate::crd::{LearnedPolicy, LearnedPolicyStatus};

/// Characters of an Event's note, as the API server takes them.
const NOTE: usize = 1_024;
/// How long a write may take. One that hangs is given up long before, if leading ends meanwhile.
const WRITING: Duration = Duration::from_secs(30);
/// The longest wait after writes of one proposal have failed again and again.
const LONGEST: Duration = Duration::from_secs(300);

/// Writes to the API server.
pub(super) struct Writer {
    client: Client,
    known: Arc<Known>,
    leader: watch::Receiver<bool>,
    patience: Duration,
    spacing: Duration,
    shortest: Duration,
    /// When a proposal was last written.
    last: Option<Instant>,
    /// Proposals of which a write failed: how long to wait after the next failure, and until when not to try.
    failed: BTreeMap<ObjectName, (Duration, Instant)>,
}

/// A step that was not carried out.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    /// The API server refused, or cannot be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// Another replica leads now.
    #[error("another replica leads now")]
    NotLeading,
    /// The API server does not answer.
    #[error("the API server did not answer within {} s", WRITING.as_secs())]
    Slow,
}

impl Writer {
    pub(super) fn new(
        client: Client,
        known: Arc<Known>,
        leader: watch::Receiver<bool>,
        options: &Options,
    ) -> Self {
        Self {
            client,
            known,
            leader,
            patience: options.patience,
            spacing: options.spacing,
            shortest: options.backoff.0,
            last: None,
            failed: BTreeMap::new(),
        }
    }

    /// Carries out changes for as long as its patience lasts; tells how many writes succeeded and failed. Policies come
    /// before answers: a decision that is made anew has the rest of the answers again.
    pub(super) async fn carry_out(&mut self, mut changes: Vec<Change>) -> (u64, u64) {
        let begin = Instant::now();
        changes.sort_by_key(|change| (!change.removes(), !applies(change)));
        let (mut done, mut failures) = (0, 0);
        for change in changes {
            let (now, waits) = (Instant::now(), self.failed.get(&change.proposal));
            if waits.is_some_and(|(_, until)| *until > now) {
                continue;
            }
            if begin.elapsed() > self.patience && !change.removes() && !applies(&change) {
                break;
            }
            match self.change(&change, &mut done).await {
                Ok(()) => drop(self.failed.remove(&change.proposal)),
                Err(NotDone::NotLeading) => break,
                Err(error) => {
                    failures += 1;
                    self.note(&change.proposal, &error);
                }
            }
        }
        (done, failures)
    }

    /// A failed write is tried again, ever later.
    fn note(&mut self, proposal: &ObjectName, error: &NotDone) {
        let known = self.failed.get(proposal);
        let wait = known.map_or(self.shortest, |(wait, _)| *wait);
        let error = error as &dyn std::error::Error;
        tracing::warn!(%proposal, error, "a write failed; it is tried again in {wait:?}");
        let next = ((wait * 2).min(LONGEST), Instant::now() + wait);
        self.failed.insert(proposal.clone(), next);
    }

    async fn change(&mut self, change: &Change, done: &mut u64) -> Result<(), NotDone> {
        for step in &change.steps {
            if !*self.leader.borrow() {
                return Err(NotDone::NotLeading);
            }
            self.step_or_resign(change, step).await?;
            *done += 1;
        }
        Ok(())
    }

    /// Carries a step out as long as this replica leads. Its time is over well before another one's begins, so that what is
    /// given up then is over as well.
    async fn step_or_resign(&mut self, change: &Change, step: &Step) -> Result<(), NotDone> {
        let mut leader = self.leader.clone();
        let resigned = async {
            if leader.wait_for(|leads| !*leads).await.is_err() {
                // Nobody is left to say so: it leads for ever.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = resigned => Err(NotDone::NotLeading),
            done = timeout(WRITING, self.step(change, step)) => done.unwrap_or(Err(NotDone::Slow)),
        }
    }

    async fn step(&mut self, change: &Change, step: &Step) -> Result<(), NotDone> {
        let name = &change.proposal;
        match step {
            Step::Propose => {
                self.space().await;
                let new = LearnedPolicy::named(&name.namespace, &name.name);
                let made = self.proposals(name).create(&post(), &new).await?;
                self.known.wrote_proposal(made);
            }
            Step::Answer(status) => {
                self.space().await;
                self.answer(change, status).await?;
            }
            Step::Create(policy) => self.create(name, policy).await?,
            Step::Apply(policy) => self.apply(name, policy).await?,
            Step::Remove { uid, version } => self.remove(name, uid, version).await?,
            Step::Tell(event) => self.tell(change, event).await,
            Step::Forget { version } => {
                self.space().await;
                let params = exactly(Some(&change.uid), version);
                let gone = self.proposals(name).delete(&name.name, &params).await;
                absent_is_fine(gone)?;
            }
        }
        Ok(())
    }

    async fn answer(&self, change: &Change, status: &LearnedPolicyStatus) -> Result<(), NotDone> {
        let name = &change.proposal;
        let answer = json!({
            "apiVersion": LearnedPolicy::api_version(&()), "kind": LearnedPolicy::kind(&()),
            "metadata": {"name": name.name, "uid": change.uid}, "status": status,
        });
        let patch = Patch::Apply(answer);
        let proposals = self.proposals(name);
        let made = proposals.patch_status(&name.name, &apply(), &patch).await?;
        self.known.wrote_proposal(made);
        Ok(())
    }

    /// Makes a policy, which fails if there is one of its name by now, and then applies it, so that its fields are ours as
    /// those of everything that is applied.
    async fn create(&self, name: &ObjectName, policy: &NetworkPolicy) -> Result<(), NotDone> {
        let made = self.policies(name).create(&post(), policy).await?;
        let mut exactly = policy.clone();
        exactly.metadata.uid.clone_from(&made.metadata.uid);
        let version = &made.metadata.resource_version;
        exactly.metadata.resource_version.clone_from(version);
        self.known.wrote_policy(made);
        self.apply(name, &exactly).await
    }

    async fn apply(&self, name: &ObjectName, policy: &NetworkPolicy) -> Result<(), NotDone> {
        let patch = Patch::Apply(policy);
        let policies = self.policies(name);
        let made = policies.patch(&name.name, &apply(), &patch).await?;
        tracing::info!(policy = %name, "the NetworkPolicy was applied");
        self.known.wrote_policy(made);
        Ok(())
    }

    async fn remove(&self, name: &ObjectName, uid: &str, version: &str) -> Result<(), NotDone> {
        let params = exactly(Some(uid), version);
        absent_is_fine(self.policies(name).delete(&name.name, &params).await)?;
        tracing::info!(policy = %name, "the NetworkPolicy was deleted");
        self.known.removed_policy(name);
        Ok(())
    }

    /// Tells people. An Event that cannot be written is not written later: what it says is in the status too.
    async fn tell(&self, change: &Change, event: &Event) {
        let event = events::Event {
            type_: match event.warning {
                true => EventType::Warning,
                false => EventType::Normal,
            },
            reason: event.reason.to_owned(),
            note: Some(event.note.chars().take(NOTE).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let about = ObjectReference {
            api_version: Some(LearnedPolicy::api_version(&()).into_owned()),
            kind: Some(LearnedPolicy::kind(&()).into_owned()),
            name: Some(change.proposal.name.clone()),
            namespace: Some(change.proposal.namespace.clone()),
            uid: Some(change.uid.clone()),
            ..ObjectReference::default()
        };
        // One recorder for several Events would count those of one reason as one, in the words of the first.
        let recorder = Recorder::new(self.client.clone(), reporter());
        if let Err(error) = recorder.publish(&event, &about).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(proposal = %change.proposal, error, "an Event was not written");
        }
    }

    /// Keeps writes of proposals apart.
    async fn space(&mut self) {
        if let Some(last) = self.last {
            tokio::time::sleep(self.spacing.saturating_sub(last.elapsed())).await;
        }
        self.last = Some(Instant::now());
    }

    fn policies(&self, name: &ObjectName) -> Api<NetworkPolicy> {
        Api::namespaced(self.client.clone(), &name.namespace)
    }

    fn proposals(&self, name: &ObjectName) -> Api<LearnedPolicy> {
        Api::namespaced(self.client.clone(), &name.namespace)
    }
}

fn reporter() -> Reporter {
    Reporter {
        controller: format!("{}/controller", netpol_common::GROUP),
        instance: None,
    }
}

fn applies(change: &Change) -> bool {
    let writes = |step: &Step| matches!(step, Step::Create(_) | Step::Apply(_));
    change.steps.iter().any(writes)
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// What is applied is ours: its fields are taken back from whoever changed them.
fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// Deletes what is of this uid and version, and nothing else.
fn exactly(uid: Option<&str>, version: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: uid.map(str::to_owned),
            resource_version: Some(version.to_owned()),
        }),
        ..DeleteParams::background()
    }
}

fn absent_is_fine<T>(outcome: kube::Result<T>) -> kube::Result<()> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
