//! The versions of one object over time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Versions kept of one object at most; the oldest go first.
const VERSIONS: usize = 512;

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span {
    from: Timestamp,
    to: Timestamp,
}

/// When something held: from its start, which is included, until its end, which is not. `None` is unbounded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Validity {
    /// The start.
    pub(super) from: Option<Timestamp>,
    /// The end.
    pub(super) to: Option<Timestamp>,
}

/// What an object was, and when. At least one version is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct History<T> {
    versions: Vec<(Validity, T)>,
}

impl Span {
    /// The span of a sighting; ends that were swapped are put right.
    pub(super) fn new((from, to): (Timestamp, Timestamp)) -> Self {
        Self {
            from: from.min(to),
            to: from.max(to),
        }
    }

    /// The span, longer by `slack` at both ends.
    pub(super) fn widened(self, slack: SignedDuration) -> Self {
        Self {
            from: self.from.saturating_sub(slack).unwrap_or(Timestamp::MIN),
            to: self.to.saturating_add(slack).unwrap_or(Timestamp::MAX),
        }
    }
}

impl Validity {
    /// Whether it holds at some time within the span; without a span, at any time at all.
    pub(super) fn meets(self, span: Option<Span>) -> bool {
        let Some(span) = span else { return true };
        self.from.is_none_or(|from| from <= span.to) && self.to.is_none_or(|to| span.from < to)
    }
}

impl<T: PartialEq> History<T> {
    /// One version, valid from `from` on.
    pub(super) fn new(value: T, from: Option<Timestamp>) -> Self {
        let validity = Validity { from, to: None };
        Self {
            versions: vec![(validity, value)],
        }
    }

    /// Puts `value` in the place of the present version at `at`. An equal one changes nothing.
    pub(super) fn replace(&mut self, value: T, at: Timestamp) {
        if self.current() == Some(&value) {
            return;
        }
        self.end(at);
        let validity = Validity {
            from: Some(at),
            to: None,
        };
        self.versions.push((validity, value));
        let surplus = self.versions.len().saturating_sub(VERSIONS);
        self.versions.drain(..surplus);
    }

    /// Puts `known`, what an earlier process knew, before what is known now; the object was found as it is now at `at`.
    pub(super) fn recall(&mut self, mut known: Self, at: Timestamp) {
        if let Some((first, value)) = self.versions.first_mut()
            && known.current() == Some(value)
        {
            first.from = known.versions.pop().and_then(|(validity, _)| validity.from);
        } else {
            known.end(at);
            if let Some((first, _)) = self.versions.first_mut() {
                first.from = Some(first.from.map_or(at, |from| from.max(at)));
            }
        }
        known.versions.append(&mut self.versions);
        self.versions = known.versions;
    }

    /// Ends the present version at `at`.
    pub(super) fn end(&mut self, at: Timestamp) {
        if let Some((validity, _)) = self.versions.last_mut() {
            validity.to.get_or_insert(at);
        }
    }

    /// The present version.
    pub(super) fn current(&self) -> Option<&T> {
        let (validity, value) = self.versions.last()?;
        validity.to.is_none().then_some(value)
    }

    /// Every version kept, the oldest first, to change how it is kept, not what it is.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.versions.iter_mut().map(|(_, value)| value)
    }

    /// Every version kept, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.versions.iter().map(|(_, value)| value)
    }

    /// The versions that were valid at some time within the span.
    pub(super) fn during(&self, span: Option<Span>) -> impl Iterator<Item = &T> {
        let held = move |(validity, _): &&(Validity, T)| validity.meets(span);
        self.versions.iter().filter(held).map(|(_, value)| value)
    }

    /// Forgets versions that ended by `before`; tells whether any is left.
    pub(super) fn prune(&mut self, before: Timestamp) -> bool {
        self.versions
            .retain(|(validity, _)| validity.to.is_none_or(|to| to > before));
        !self.versions.is_empty()
    }
}

/// Forgets versions that ended by `before`, and objects of which none is left: as far as the keys of those are taken.
pub(super) fn forget<K: Ord, T: PartialEq>(
    all: &mut BTreeMap<K, History<T>>,
    before: Timestamp,
) -> impl Iterator<Item = K> {
    let forgotten = all.extract_if(.., move |_, history| !history.prune(before));
    forgotten.map(|(key, _)| key)
}

/// Takes back what an earlier process knew of an object.
pub(super) fn restore<K: Ord, T: PartialEq>(
    all: &mut BTreeMap<K, History<T>>,
    key: Option<K>,
    mut known: History<T>,
    gone: Option<Timestamp>,
) {
    let Some(key) = key else { return };
    match (all.get_mut(&key), gone) {
        (Some(history), Some(at)) => history.recall(known, at),
        (Some(_), None) => {}
        (None, gone) => {
            if let Some(at) = gone {
                known.end(at);
            }
            all.insert(key, known);
        }
    }
}
