//! The hours in which something was seen, as a bitmap.
//!
//! Only the newest [`Windows::RETENTION`] hours are kept, counted from the newest of all, so that an edge takes a
//! bounded amount of memory. What is dropped on the way would be dropped at the end too: inserting and merging give
//! the same windows in whatever order.

use std::iter;

use jiff::Timestamp;

/// Seconds of a window.
const LENGTH: i64 = 3600;
/// Windows of a word.
const WORD: u32 = u64::BITS;

/// A set of windows of one hour, each by its number: hours since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Windows {
    /// The number of the first word: that of its first window, divided by 64.
    first: u32,
    bits: Bits,
}

/// Words of 64 windows. Neither the first nor the last of several is zero.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Bits {
    /// One word, or nothing if it is zero.
    One(u64),
    /// Two or more.
    Several(Box<[u64]>),
}

impl Windows {
    /// How many windows are kept: those of 90 days.
    pub const RETENTION: u32 = 90 * 24;

    /// The window that a time lies in. Times before 1970 lie in the first.
    #[must_use]
    pub fn of(time: Timestamp) -> u32 {
        let number = time.as_second().div_euclid(LENGTH).max(0);
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// Every window from `first` to `last`, as far as they are kept.
    #[must_use]
    pub fn between(first: u32, last: u32) -> Self {
        let kept = first.max(last.saturating_sub(Self::RETENTION - 1));
        (kept..=last).collect()
    }

    /// Adds one.
    pub fn insert(&mut self, window: u32) {
        let (word, bit) = (window / WORD, 1 << (window % WORD));
        if let Some(known) = self.word_mut(word) {
            *known |= bit;
        } else {
            let new = Self {
                first: word,
                bits: Bits::One(bit),
            };
            self.merge(&new);
            return;
        }
        if self.words().len() * 64 > Self::RETENTION as usize {
            self.forget();
        }
    }

    /// Adds every window of `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        let end = self.end().max(other.end());
        let oldest = end.saturating_sub(Self::RETENTION.div_ceil(WORD) + 1);
        let first = self.first.min(other.first).max(oldest);
        let words = (first..end).map(|number| self.word(number) | other.word(number));
        *self = Self::trimmed(first, words.collect());
        self.forget();
    }

    /// Whether a window is among them.
    #[must_use]
    pub fn contains(&self, window: u32) -> bool {
        self.word(window / WORD) & (1 << (window % WORD)) != 0
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.words().iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == Bits::One(0)
    }

    /// The oldest.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        let word = self.words().first()?;
        (!self.is_empty()).then(|| self.first * WORD + word.trailing_zeros())
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        let word = self.words().last()?;
        (!self.is_empty()).then(|| (self.end() - 1) * WORD + (WORD - 1 - word.leading_zeros()))
    }

    /// Each, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (self.first..).zip(self.words());
        words.flat_map(|(number, word)| {
            let rest = iter::successors(Some(*word), |rest| Some(rest & rest.wrapping_sub(1)));
            rest.take_while(|rest| *rest != 0)
                .map(move |rest| number * WORD + rest.trailing_zeros())
        })
    }

    fn words(&self) -> &[u64] {
        match &self.bits {
            Bits::One(word) => std::slice::from_ref(word),
            Bits::Several(words) => words,
        }
    }

    /// The number of the word after the last.
    fn end(&self) -> u32 {
        let words = u32::try_from(self.words().len()).unwrap_or(u32::MAX);
        self.first.saturating_add(words)
    }

    /// The word of that number; zero where there is none.
    fn word(&self, number: u32) -> u64 {
        let at = number.checked_sub(self.first);
        at.and_then(|at| self.words().get(at as usize))
            .copied()
            .unwrap_or_default()
    }

    fn word_mut(&mut self, number: u32) -> Option<&mut u64> {
        if self.is_empty() {
            return None;
        }
        let at = number.checked_sub(self.first)? as usize;
        match &mut self.bits {
            Bits::One(word) => (at == 0).then_some(word),
            Bits::Several(words) => words.get_mut(at),
        }
    }

    /// Drops what is too old to be kept.
    fn forget(&mut self) {
        let (Some(first), Some(last)) = (self.first(), self.last()) else {
            return;
        };
        let oldest = last.saturating_sub(Self::RETENTION - 1);
        if first >= oldest {
            return;
        }
        let number = oldest / WORD;
        let mut words: Vec<u64> = (number..self.end()).map(|at| self.word(at)).collect();
        if let Some(word) = words.first_mut() {
            *word &= u64::MAX << (oldest % WORD);
        }
        *self = Self::trimmed(number, words);
    }

    /// The windows of some words, the first of which has that number.
    fn trimmed(first: u32, words: Vec<u64>) -> Self {
        let used = |word: &u64| *word != 0;
        let (Some(from), Some(last)) = (words.iter().position(used), words.iter().rposition(used))
        else {
            return Self::default();
        };
        let bits = match &words[from..=last] {
            [word] => Bits::One(*word),
            several => Bits::Several(several.into()),
        };
        let skipped = u32::try_from(from).unwrap_or(u32::MAX);
        Self {
            first: first.saturating_add(skipped),
            bits,
        }
    }
}

impl Default for Bits {
    fn default() -> Self {
        Self::One(0)
    }
}

impl FromIterator<u32> for Windows {
    fn from_iter<I: IntoIterator<Item = u32>>(windows: I) -> Self {
        let mut all = Self::default();
        for window in windows {
            all.insert(window);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Near each other, far apart, and at both ends of what there is.
    fn any_window() -> impl Strategy<Value = u32> {
        let ends = prop_oneof![0..3_u32, Just(u32::MAX), Just(u32::MAX - 64)];
        prop_oneof![6 => 490_000..490_200_u32, 6 => 490_000..493_000_u32, 1 => ends]
    }

    fn any_windows() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(any_window(), 0..40)
    }

    /// What a plain set would hold.
    fn kept(all: &[u32]) -> Vec<u32> {
        let newest = all.iter().max().copied().unwrap_or_default();
        let set: BTreeSet<u32> = all.iter().copied().collect();
        let fresh = |window: &u32| newest - window < Windows::RETENTION;
        set.into_iter().filter(fresh).collect()
    }

    #[test]
    fn a_time_lies_in_its_hour() {
        let window = |time: &str| Windows::of(time.parse().unwrap());
        assert_eq!(window("1970-01-01T00:59:59.9Z"), 0);
        assert_eq!(window("1970-01-02T01:00:00Z"), 25);
        assert_eq!(window("1969-12-31T23:00:00Z"), 0);
        assert_eq!(Windows::between(5, 9).iter().count(), 5);
        let all = Windows::between(0, 1_000_000);
        assert_eq!((all.first(), all.len()), (Some(997_841), 2160));
    }

    #[test]
    fn an_edge_takes_little_memory() {
        assert!(size_of::<Windows>() <= 24);
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_the_newest(all in any_windows()) {
            let windows: Windows = all.iter().copied().collect();
            let kept = kept(&all);
            prop_assert_eq!(windows.iter().collect::<Vec<_>>(), kept.clone());
            prop_assert_eq!(windows.len() as usize, kept.len());
            prop_assert_eq!(windows.first(), kept.first().copied());
            prop_assert_eq!(windows.last(), kept.last().copied());
            prop_assert_eq!(windows.is_empty(), kept.is_empty());
            for window in all {
                prop_assert_eq!(windows.contains(window), kept.contains(&window));
            }
        }

        #[test]
        fn merging_is_idempotent_commutative_and_associative(
            a in any_windows(), b in any_windows(), c in any_windows(),
        ) {
            let [one, two, three]: [Windows; 3] = [&a, &b, &c].map(|all| all.iter().copied().collect());
            let merged = |x: &Windows, y: &Windows| {
                let mut all = x.clone();
                all.merge(y);
                all
            };
            prop_assert_eq!(merged(&one, &one), one.clone());
            prop_assert_eq!(merged(&one, &two), merged(&two, &one));
            let left = merged(&merged(&one, &two), &three);
            prop_assert_eq!(&left, &merged(&one, &merged(&two, &three)));
            prop_assert_eq!(left, [a, b, c].concat().into_iter().collect());
        }
    }
}
