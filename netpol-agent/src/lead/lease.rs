//! The Lease at the API server (`coordination.k8s.io/v1`): reading, writing, and telling whether we lead.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::election::{Action, Election, Record};
use super::{Config, Leader};
use crate::trouble::{Trouble, chain};

/// How long, once told to stop, those who lead by us may take to end before the Lease is released.
const WIND_UP: Duration = Duration::from_secs(5);

/// Which Lease, and who we are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Our name in it: the pod's, to which something is added that no other process has.
    pub identity: String,
    /// The times.
    pub config: Config,
}

/// One candidate at work.
struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
    config: Config,
    begin: Instant,
    election: Election,
    /// When we last began to hold it, for `spec.acquireTime`.
    acquired: Option<Timestamp>,
    leads: watch::Sender<bool>,
    trouble: Trouble,
}

/// Stands for election until `stop` is cancelled. Returns what tells whether we lead, and what is to be driven; once that
/// is done, the Lease is released, so that another replica leads at once.
///
/// After `stop`, leading ends first, and the Lease is released when every receiver is gone, or after 5 s.
pub fn run(
    client: Client,
    options: &Options,
    stop: CancellationToken,
) -> (Leader, impl Future<Output = ()> + Send + use<>) {
    let (leads, leader) = watch::channel(false);
    let me = format!("{}_{:016x}", options.identity, fastrand::u64(..));
    let candidate = Candidate {
        api: Api::namespaced(client, &options.namespace),
        name: options.name.clone(),
        election: Election::new(me.clone(), options.config),
        me,
        config: options.config,
        begin: Instant::now(),
        acquired: None,
        leads,
        trouble: Trouble::new("holding the lease"),
    };
    (leader, candidate.run(stop))
}

impl Candidate {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.round() => {}
            }
            self.publish();
            let pause = self.config.retry.mul_f64(0.9 + 0.2 * fastrand::f64());
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.expiry() => self.publish(),
                () = sleep(pause) => {}
            }
        }
        self.release().await;
    }

    /// Reads the Lease and does what is to be done. Ends early where leading does.
    async fn round(&mut self) {
        let (until, begin) = (self.election.leads_until(), self.begin);
        let limit = match until {
            Some(until) if self.election.leads(self.now()) => {
                (begin + until).saturating_duration_since(Instant::now())
            }
            _ => self.config.deadline,
        };
        let outcome = match timeout(limit, self.attempt()).await {
            Ok(outcome) => outcome.map_err(|error| chain(&error)),
            Err(_) => Err("the API server did not answer in time".to_owned()),
        };
        self.trouble.note(outcome);
    }

    async fn attempt(&mut self) -> kube::Result<()> {
        let lease = self.api.get_opt(&self.name).await?;
        let action = self.election.read(self.now(), lease.as_ref().map(record));
        let asked = self.now();
        let written = match action {
            Action::Wait => return Ok(()),
            Action::Create => {
                let lease = self.lease(None, 0);
                self.api.create(&PostParams::default(), &lease).await
            }
            Action::Take {
                version,
                transitions,
            } => {
                self.acquired = None;
                self.replace(version, transitions).await
            }
            Action::Renew {
                version,
                transitions,
            } => self.replace(version, transitions).await,
        };
        match written {
            Ok(lease) => self.election.written(asked, self.now(), record(&lease)),
            // Somebody was faster; what they wrote is read next time.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn replace(&mut self, version: String, transitions: i32) -> kube::Result<Lease> {
        let lease = self.lease(Some(version), transitions);
        let parameters = PostParams::default();
        self.api.replace(&self.name, &parameters, &lease).await
    }

    /// The Lease with ourselves as its holder.
    fn lease(&mut self, version: Option<String>, transitions: i32) -> Lease {
        let now = Timestamp::now();
        let acquired = *self.acquired.get_or_insert(now);
        let seconds = i32::try_from(self.config.duration.as_secs()).unwrap_or(i32::MAX);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                lease_duration_seconds: Some(seconds),
                acquire_time: Some(MicroTime(acquired)),
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Gives the Lease back, once nobody leads by it any more.
    async fn release(mut self) {
        self.election.resign();
        self.publish();
        // Ends when the last receiver is gone.
        let _late = timeout(WIND_UP, self.leads.closed()).await;
        let Some(held) = self.election.held().cloned() else {
            return;
        };
        let mut lease = self.lease(Some(held.version), held.transitions);
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        let parameters = PostParams::default();
        let written = self.api.replace(&self.name, &parameters, &lease);
        match timeout(self.config.deadline, written).await {
            Ok(Ok(_)) => info!(lease = self.name, "released the lease"),
            Ok(Err(error)) => info!("the lease is not released and runs out: {}", chain(&error)),
            Err(_) => info!("the lease is not released and runs out: no answer"),
        }
    }

    /// Tells whether we lead, if that has changed.
    fn publish(&self) {
        let leads = self.election.leads(self.now());
        let changed = self.leads.send_if_modified(|led| {
            let changed = *led != leads;
            *led = leads;
            changed
        });
        if changed {
            let (lease, identity) = (&self.name, &self.me);
            info!(lease, identity, leads, "leading has changed");
        }
    }

    /// Waits until leading ends, if nothing renews it.
    async fn expiry(&self) {
        match self.election.leads_until() {
            Some(until) if self.election.leads(self.now()) => {
                tokio::time::sleep_until(self.begin + until).await;
            }
            _ => std::future::pending().await,
        }
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|it| u64::try_from(it).ok());
    Record {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity,
        duration: seconds.map(Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}
