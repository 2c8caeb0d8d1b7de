//! What is new in flow records since they were last told, so that the lines that somebody reads add up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};
use netpol_common::record::FlowRecord;

/// Records remembered at most.
const MOST: usize = 500_000;
/// How long a record can grow: its window, and what may come late.
const GROWS: SignedDuration = SignedDuration::from_hours(2);
/// After how many lines what cannot grow any more is forgotten.
const LINES: u64 = 10_000;

/// What was told of each record that can still grow.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<u64, (u64, Timestamp)>);

/// Several streams of flow records, one after another, as one: each begins with all that there is, and its own lines add up.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// What was passed on, of all streams.
    told: Told,
    /// What came, of this stream.
    came: Told,
    /// The latest time that any record bears.
    now: Timestamp,
    /// The same, of the streams before this one; nothing in the first.
    before: Option<Timestamp>,
    lines: u64,
}

/// More records can still grow than can be remembered. The aggregator ends every stream of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more flows are going on than can be followed at once: ask for one namespace, with -n")]
pub(crate) struct TooMany;

impl Told {
    /// What of a record was not told yet. A record without counts is news once.
    pub(crate) fn news(&mut self, mut record: FlowRecord, now: Timestamp) -> Option<FlowRecord> {
        if !Self::may_grow(&record, now) {
            return None;
        }
        let seen = record.last_seen.unwrap_or(now);
        let new = (record.count, seen);
        match self.0.entry(identity(&record)) {
            Entry::Vacant(entry) => {
                entry.insert(new);
            }
            Entry::Occupied(mut entry) => {
                let (count, last) = *entry.get();
                // What was told stays told, also where a part of it comes again.
                entry.insert((count.max(new.0), last.max(new.1)));
                record.count = record.count.checked_sub(count).filter(|more| *more > 0)?;
            }
        }
        Some(record)
    }

    /// Whether a record may still grow.
    pub(crate) fn may_grow(record: &FlowRecord, now: Timestamp) -> bool {
        let end = record.last_seen.unwrap_or(now).saturating_add(GROWS);
        end.map_or(true, |end| end >= now)
    }

    /// Forgets what cannot grow any more. Tells whether the rest is few enough to go on.
    pub(crate) fn tidy(&mut self, now: Timestamp) -> bool {
        let grows = |seen: Timestamp| seen.saturating_add(GROWS).map_or(true, |end| end >= now);
        self.0.retain(|_, (_, seen)| grows(*seen));
        self.0.len() <= MOST
    }

    /// Adds a record to what was told of it, and makes it the sum.
    fn add(&mut self, record: &mut FlowRecord, now: Timestamp) {
        let seen = record.last_seen.unwrap_or(now);
        let sum = self.0.entry(identity(record)).or_insert((0, seen));
        *sum = (sum.0.saturating_add(record.count), sum.1.max(seen));
        record.count = sum.0;
    }
}

impl Joined {
    /// The stream has ended, and the next one begins.
    ///
    /// # Errors
    ///
    /// The aggregator ended it because there is too much to be followed, and would end the next one, too.
    pub(crate) fn next_stream(&mut self) -> Result<(), TooMany> {
        self.came = Told::default();
        self.before = Some(self.now);
        self.tidy()
    }

    /// What a record of the stream tells that no stream has told before.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(crate) fn news(&mut self, mut record: FlowRecord) -> Result<Option<FlowRecord>, TooMany> {
        self.now = self.now.max(record.last_seen.unwrap_or(self.now));
        self.lines += 1;
        if self.lines.is_multiple_of(LINES) {
            self.tidy()?;
        }
        let since = self.since();
        if !Told::may_grow(&record, since) {
            return Ok(self.before.is_none().then_some(record));
        }
        self.came.add(&mut record, since);
        Ok(self.told.news(record, since))
    }

    /// From when on records may have grown after they were told. What came to its end between two streams was told by
    /// neither.
    fn since(&self) -> Timestamp {
        self.before.unwrap_or(self.now)
    }

    fn tidy(&mut self) -> Result<(), TooMany> {
        let since = self.since();
        let few = [self.told.tidy(since), self.came.tidy(since)];
        match few {
            [true, true] => Ok(()),
            _ => Err(TooMany),
        }
    }
}

/// What makes two records the same: all but what grows.
fn identity(record: &FlowRecord) -> u64 {
    let FlowRecord {
        time,
        client,
        server,
        protocol,
        port,
        outcome,
        view,
        observer,
        ..
    } = record;
    let parts = (
        time, client, server, protocol, port, outcome, view, observer,
    );
    FixedState::with_seed(0).hash_one(parts)
}

#[cfg(test)]
mod tests {
    use netpol_common::record::Endpoint;
    use netpol_common::words::{Outcome, Protocol};

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    fn record(port: u16, count: u64, last: i64) -> FlowRecord {
        let address = |last: u8| Endpoint::Ip([10, 0, 0, last].into());
        FlowRecord {
            time: Some(at(0)),
            client: address(1),
            server: address(2),
            protocol: Protocol::Tcp,
            port,
            outcome: Outcome::Established,
            count,
            last_seen: Some(at(last)),
            view: None,
            by_service: None,
            observer: None,
            remote_node: None,
        }
    }

    #[test]
    fn counts_of_all_that_is_told_add_up() {
        let mut told = Told::default();
        let steps = [(80, 3), (81, 1), (80, 3), (80, 7), (81, 1), (80, 8)];
        let news = steps.map(|(port, count)| {
            let news = told.news(record(port, count, 1), at(2));
            news.map(|record| record.count)
        });
        assert_eq!(news, [Some(3), Some(1), None, Some(4), None, Some(1)]);
    }

    #[test]
    fn what_cannot_grow_is_forgotten_and_no_news() {
        let mut told = Told::default();
        assert!(told.news(record(80, 3, 1), at(2)).is_some());
        assert!(told.tidy(at(100)));
        assert_eq!(told.0.len(), 1);
        assert!(told.tidy(at(122)));
        assert!(told.0.is_empty());
        assert!(told.news(record(80, 3, 1), at(122)).is_none());
    }

    #[test]
    fn streams_that_begin_anew_are_joined() {
        let mut joined = Joined::default();
        let mut told = |port, count, last| {
            let news = joined.news(record(port, count, last)).unwrap();
            news.map(|record| record.count)
        };
        // Within a stream, lines add up.
        assert_eq!(told(80, 3, 1), Some(3));
        assert_eq!(told(81, 1, 1), Some(1));
        assert_eq!(told(80, 2, 2), Some(2));
        joined.next_stream().unwrap();
        let mut told = |port, count, last| {
            let news = joined.news(record(port, count, last)).unwrap();
            news.map(|record| record.count)
        };
        assert_eq!(told(80, 5, 2), None);
        assert_eq!(told(81, 4, 3), Some(3));
        assert_eq!(told(82, 1, 3), Some(1));
        assert_eq!(told(80, 1, 4), Some(1));
        joined.next_stream().unwrap();
        // In pieces.
        let mut told = |port, count, last| {
            let news = joined.news(record(port, count, last)).unwrap();
            news.map(|record| record.count)
        };
        assert_eq!(told(80, 4, 2), None);
        assert_eq!(told(80, 1, 4), None);
        assert_eq!(told(80, 3, 5), Some(2));
    }

    #[test]
    fn what_is_too_old_to_grow_is_told_by_the_first_stream_only() {
        let mut joined = Joined::default();
        let mut counts = Vec::new();
        for _ in 0..2 {
            for last in [500, 1, 499] {
                let news = joined.news(record(u16::try_from(last).unwrap(), 1, last));
                let news = news.unwrap();
                counts.push(news.map(|record| record.count));
            }
            joined.next_stream().unwrap();
        }
        let once = [Some(1), Some(1), Some(1), None, None, None];
        assert_eq!(counts, once);
    }

    #[test]
    fn what_came_to_its_end_between_two_streams_is_told_by_the_later_one() {
        let mut joined = Joined::default();
        let counts = |joined: &mut Joined, records: &[(u16, u64, i64)]| -> Vec<Option<u64>> {
            let records = records.iter();
            let news = records.map(|(port, count, last)| joined.news(record(*port, *count, *last)));
            news.map(|news| news.unwrap().map(|record| record.count))
                .collect()
        };
        assert_eq!(counts(&mut joined, &[(80, 1, 10)]), [Some(1)]);
        joined.next_stream().unwrap();
        // Five hours later, newest first.
        let later = [(82, 1, 300), (81, 4, 20), (80, 3, 15)];
        assert_eq!(counts(&mut joined, &later), [Some(1), Some(4), Some(2)]);
        joined.next_stream().unwrap();
        assert_eq!(counts(&mut joined, &later), [None; 3]);
    }

    #[test]
    fn what_is_too_much_to_be_followed_is_an_error() {
        let mut joined = Joined::default();
        joined.news(record(80, 1, 1)).unwrap();
        let others = 0..u64::try_from(MOST).unwrap();
        joined
            .told
            .0
            .extend(others.map(|number| (number, (1, at(1)))));
        assert_eq!(joined.next_stream(), Err(TooMany));
        // They end some time.
        joined.news(record(81, 1, 200)).unwrap();
        assert_eq!(joined.next_stream(), Ok(()));
    }
}
