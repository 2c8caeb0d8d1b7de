//! The pure part: what a candidate does, given what it last read and when. Times are of its own monotonic clock.

use std::time::Duration;

use super::Config;

/// A Lease, as far as an election goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// `metadata.resourceVersion`: changes with every write.
    pub version: String,
    /// `spec.holderIdentity`; nobody if it is missing or empty.
    pub holder: Option<String>,
    /// `spec.leaseDurationSeconds`.
    pub duration: Option<Duration>,
    /// `spec.leaseTransitions`.
    pub transitions: i32,
}

/// What a candidate knows of the Lease.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// What it last read; `None` if there is no Lease.
    pub record: Option<Record>,
    /// When it first read it so.
    pub since: Duration,
}

/// What to do now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Make the Lease, with ourselves as the holder.
    Create,
    /// Write ourselves into this version of it, with so many transitions.
    Take {
        /// The version that must not have changed.
        version: String,
        /// How often the holder has changed, this time included.
        transitions: i32,
    },
    /// Renew it: we are its holder.
    Renew {
        /// The version that must not have changed.
        version: String,
        /// As before.
        transitions: i32,
    },
    /// Somebody else holds it.
    Wait,
}

/// What `me` does at `now`.
#[must_use]
pub fn decide(now: Duration, seen: &Seen, me: &str, config: &Config) -> Action {
    let Some(record) = &seen.record else {
        return Action::Create;
    };
    let version = record.version.clone();
    let holder = record.holder.as_deref().filter(|holder| !holder.is_empty());
    match holder {
        Some(holder) if holder == me => Action::Renew {
            version,
            transitions: record.transitions,
        },
        // A holder with other settings leads by its own.
        Some(_) if now < seen.since + record.duration.unwrap_or(config.duration) => Action::Wait,
        _ => Action::Take {
            version,
            transitions: record.transitions.saturating_add(1),
        },
    }
}

/// One candidate over time.
#[derive(Clone, Debug)]
pub struct Election {
    me: String,
    config: Config,
    seen: Option<Seen>,
    leads_until: Option<Duration>,
}

impl Election {
    /// A candidate that knows nothing yet. `me` is to be unique among all processes ever: one that starts again is another
    /// candidate.
    #[must_use]
    pub fn new(me: String, config: Config) -> Self {
        Self {
            me,
            config,
            seen: None,
            leads_until: None,
        }
    }

    /// Takes in what was read, and says what to do. `now` is when the answer came.
    pub fn read(&mut self, now: Duration, record: Option<Record>) -> Action {
        let seen = self.see(now, record);
        decide(now, &seen, &self.me, &self.config)
    }

    /// Takes in that a write succeeded that was asked for at `asked`.
    pub fn written(&mut self, asked: Duration, now: Duration, record: Record) {
        if record.holder.as_ref() == Some(&self.me) {
            self.leads_until = Some(asked + self.config.deadline);
        }
        self.see(now, Some(record));
    }

    /// Leads no more, whatever happens.
    pub fn resign(&mut self) {
        self.leads_until = None;
    }

    /// Whether it leads.
    #[must_use]
    pub fn leads(&self, now: Duration) -> bool {
        self.leads_until.is_some_and(|until| now < until)
    }

    /// Until when it leads, unless it renews.
    #[must_use]
    pub fn leads_until(&self) -> Option<Duration> {
        self.leads_until
    }

    /// The last that was seen of the Lease, if we hold it: what is released.
    #[must_use]
    pub fn held(&self) -> Option<&Record> {
        let record = self.seen.as_ref()?.record.as_ref()?;
        (record.holder.as_ref() == Some(&self.me)).then_some(record)
    }

    fn see(&mut self, now: Duration, record: Option<Record>) -> Seen {
        let same = self.seen.as_ref().filter(|seen| seen.record == record);
        let since = same.map_or(now, |seen| seen.since);
        let seen = Seen { record, since };
        self.seen = Some(seen.clone());
        seen
    }
}
