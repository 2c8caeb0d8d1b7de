//! A bounded memory of answers, each believed until a time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// Answers by what was asked. When it is full, whatever would be forgotten soonest is forgotten.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    most: usize,
    answers: BTreeMap<K, (Timestamp, V)>,
    by_end: BTreeSet<(Timestamp, K)>,
}

impl<K: Clone + Ord, V: Clone> Cache<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            answers: BTreeMap::new(),
            by_end: BTreeSet::new(),
        }
    }

    /// The answer, if it is still believed.
    pub(super) fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let (until, answer) = self.answers.get(key)?;
        (now < *until).then(|| answer.clone())
    }

    /// Remembers an answer, until `until` at the latest.
    pub(super) fn insert(&mut self, key: K, answer: V, until: Timestamp) {
        if let Some((earlier, _)) = self.answers.remove(&key) {
            self.by_end.remove(&(earlier, key.clone()));
        }
        while self.answers.len() >= self.most {
            let Some((_, soonest)) = self.by_end.pop_first() else {
                break;
            };
            self.answers.remove(&soonest);
        }
        self.by_end.insert((until, key.clone()));
        self.answers.insert(key, (until, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn believes_until_the_time_and_no_longer() {
        let mut cache = Cache::new(10);
        cache.insert("a", 1, at(5));
        assert_eq!(cache.get(&"a", at(4)), Some(1));
        assert_eq!(cache.get(&"a", at(5)), None);
        assert_eq!(cache.get(&"b", at(0)), None);
        cache.insert("a", 2, at(9));
        assert_eq!(cache.get(&"a", at(8)), Some(2));
        assert_eq!(cache.by_end.len(), 1);
    }

    #[test]
    fn forgets_what_would_be_forgotten_soonest() {
        let mut cache = Cache::new(2);
        cache.insert("late", 1, at(9));
        cache.insert("soon", 2, at(3));
        cache.insert("new", 3, at(5));
        let kept = ["late", "soon", "new"].map(|key| cache.get(&key, at(0)));
        assert_eq!(kept, [Some(1), None, Some(3)]);
        assert_eq!((cache.answers.len(), cache.by_end.len()), (2, 2));
    }
}
