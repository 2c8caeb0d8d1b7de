//! One pod over its life: when which address was its own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::history::Validity;
use super::objects::Pod;
use super::pods::earlier;

/// Kubernetes writes times in whole seconds: what ended at 5 s may have lasted until just before 6 s.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// When a pod was gone.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct End {
    /// By when.
    pub(super) at: Timestamp,
    /// Whether it may have been gone for some time by then: it was missing from a list.
    pub(super) vague: bool,
}

/// That an address is, or was, a pod's.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claim {
    address: IpAddr,
    /// From when; from the pod's start if `None`.
    since: Option<Timestamp>,
    /// Until when; until the pod's end if `None`.
    until: Option<Timestamp>,
}

/// A pod, the addresses it has had, and its end.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Record {
    pod: Pod,
    claims: Vec<Claim>,
    gone: Option<End>,
    /// When it was seen to have become terminal, for pods that do not say when they finished.
    stopped: Option<Timestamp>,
}

impl End {
    /// An end that was watched.
    pub(super) fn known(at: Timestamp) -> Self {
        Self { at, vague: false }
    }
}

impl Record {
    /// A pod that is seen for the first time.
    pub(super) fn new(pod: Pod) -> Self {
        let mut record = Self {
            pod,
            claims: Vec::new(),
            gone: None,
            stopped: None,
        };
        record.claim_new(None);
        record
    }

    /// The pod as it was last seen.
    pub(super) fn pod(&self) -> &Pod {
        &self.pod
    }

    /// Changes how the pod is kept, not what it is.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Pod)) {
        change(&mut self.pod);
    }

    /// When it was gone.
    pub(super) fn gone(&self) -> Option<End> {
        self.gone
    }

    /// Whether it is the pod of that uid. Without uids, a pod that is gone is not the one that comes after it.
    pub(super) fn is(&self, uid: &str) -> bool {
        self.pod.uid == uid && (!uid.is_empty() || self.gone.is_none())
    }

    /// Takes in what has become of it by `at`.
    pub(super) fn update(&mut self, pod: Pod, at: Timestamp) {
        self.gone = None;
        if pod.terminal && !self.pod.terminal {
            self.stopped = Some(at);
        }
        self.pod = pod;
        for claim in &mut self.claims {
            if !self.pod.ips.contains(&claim.address) {
                claim.until.get_or_insert(at);
            }
        }
        self.claim_new(Some(at));
    }

    /// Takes over what an earlier process knew of the same pod, which is the same at `at`: addresses it had before.
    pub(super) fn recall(&mut self, known: Self, at: Option<Timestamp>) {
        for mut claim in known.claims {
            let open = |own: &&mut Claim| own.address == claim.address && own.until.is_none();
            match self.claims.iter_mut().find(open) {
                Some(own) if claim.until.is_none() => own.since = claim.since,
                _ => {
                    claim.until = claim.until.or(at);
                    self.claims.push(claim);
                }
            }
        }
        self.stopped = known.stopped.or(self.stopped);
    }

    /// Ends it.
    pub(super) fn end(&mut self, end: End) {
        self.gone = Some(end);
    }

    /// Whether its end is only known to lie before the one that is written down.
    pub(super) fn ends_vaguely(&self) -> bool {
        let unsaid = self.pod.terminal && self.pod.finished.is_none();
        unsaid || self.pod.terminating || self.gone.is_some_and(|end| end.vague)
    }

    /// Every address that it ever had.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.claims.iter().map(|claim| claim.address).collect()
    }

    /// When it was there at all, finished or not.
    pub(super) fn life(&self) -> Validity {
        Validity {
            from: earlier(self.pod.created, self.pod.started),
            to: self.gone.map(|end| end.at),
        }
    }

    /// When an address surely and when it possibly was its own, for each time that it got it.
    ///
    /// A pod has its address from its start on, which comes after its creation; where both are known, the time between
    /// them is only possible.
    pub(super) fn claims_on(&self, address: IpAddr) -> impl Iterator<Item = (Validity, Validity)> {
        let on = move |claim: &&Claim| claim.address == address;
        self.claims.iter().filter(on).map(|claim| {
            let gone = self.gone.map(|end| end.at);
            let to = earlier(earlier(claim.until, gone), self.finish());
            let started = self.pod.started.or(self.pod.created);
            let sure = Validity {
                from: claim.since.or(started),
                to,
            };
            let possible = Validity {
                from: claim.since.or(self.life().from),
                to,
            };
            (sure, possible)
        })
    }

    /// The end of the second in which its last container finished.
    fn finish(&self) -> Option<Timestamp> {
        if !self.pod.terminal {
            return None;
        }
        self.pod.finished.map(end_of_second).or(self.stopped)
    }

    /// Claims the addresses that are not claimed yet: from the pod's start if it had none of that family before, so
    /// that what it sent before the API showed its address is its own; else from `at`.
    fn claim_new(&mut self, at: Option<Timestamp>) {
        for &address in &self.pod.ips {
            let open = |claim: &Claim| claim.address == address && claim.until.is_none();
            if self.claims.iter().any(open) {
                continue;
            }
            let alike = |claim: &Claim| claim.address.is_ipv4() == address.is_ipv4();
            let since = at.filter(|_| self.claims.iter().any(alike));
            self.claims.reserve_exact(1);
            self.claims.push(Claim {
                address,
                since,
                until: None,
            });
        }
    }
}

/// The end of the second that a time written in whole seconds stands for; a finer time stands for itself.
pub(super) fn end_of_second(at: Timestamp) -> Timestamp {
    if at.subsec_nanosecond() != 0 {
        return at;
    }
    at.saturating_add(RESOLUTION).unwrap_or(Timestamp::MAX)
}
