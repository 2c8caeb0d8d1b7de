//! Sets of small numbers.

/// How many members a set may have: the numbers below this.
pub(crate) const CAPACITY: usize = 512;

const WORDS: usize = CAPACITY / 64;

/// A set of numbers below [`CAPACITY`].
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Set([u64; WORDS]);

impl Set {
    /// All numbers below `end`.
    pub(crate) fn below(end: usize) -> Self {
        (0..end).collect()
    }

    pub(crate) fn insert(&mut self, member: usize) {
        self.0[member / 64] |= 1 << (member % 64);
    }

    pub(crate) fn contains(&self, member: usize) -> bool {
        self.0[member / 64] >> (member % 64) & 1 == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        self.with(other, |a, b| a | b)
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & b)
    }

    pub(crate) fn less(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & !b)
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.less(other).is_empty()
    }

    /// The members, the least first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let words = self.0.into_iter().enumerate();
        words.flat_map(|(number, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(number * 64 + bit)
            })
        })
    }

    fn with(&self, other: &Self, joined: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| {
            joined(self.0[word], other.0[word])
        }))
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(members: I) -> Self {
        let mut set = Self::default();
        members.into_iter().for_each(|member| set.insert(member));
        set
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_are_as_any_other(a in prop::collection::btree_set(0..CAPACITY, 0..40), b in prop::collection::btree_set(0..CAPACITY, 0..40)) {
            let set = |members: &BTreeSet<usize>| members.iter().copied().collect::<Set>();
            let members = |set: Set| set.iter().collect::<BTreeSet<usize>>();
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(members(x.or(&y)), &a | &b);
            prop_assert_eq!(members(x.and(&y)), &a & &b);
            prop_assert_eq!(members(x.less(&y)), &a - &b);
            prop_assert_eq!(x.is_within(&y), a.is_subset(&b));
            prop_assert_eq!((x.len(), x.is_empty()), (a.len(), a.is_empty()));
            prop_assert!((0..CAPACITY).all(|number| x.contains(number) == a.contains(&number)));
        }
    }
}
