//! Values that many objects have in common, kept once: labels, owners and ports of the pods of a workload.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Values below which nobody looks for those that are not used any more.
const FEW: usize = 1_024;

/// A value that may be shared. It is read like the value itself.
#[derive(Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Shared<T>(Arc<T>);

/// Every value that is shared, once.
#[derive(Clone, Debug)]
pub(super) struct Pool<T> {
    values: BTreeSet<Shared<T>>,
    /// How many there may be before those that nobody uses are dropped.
    most: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            values: BTreeSet::new(),
            most: FEW,
        }
    }
}

impl<T: Ord> Pool<T> {
    /// The value that is equal to this one, which is this one if there is none yet.
    pub(super) fn share(&mut self, value: Shared<T>) -> Shared<T> {
        if let Some(known) = self.values.get(&value) {
            return known.clone();
        }
        if self.values.len() >= self.most {
            self.values.retain(|known| Arc::strong_count(&known.0) > 1);
            self.most = FEW.max(2 * self.values.len());
        }
        self.values.insert(value.clone());
        value
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<A, T: FromIterator<A>> FromIterator<A> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = A>>(all: I) -> Self {
        all.into_iter().collect::<T>().into()
    }
}

impl<'a, T> IntoIterator for &'a Shared<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once_and_dropped_with_their_last_user() {
        let mut pool = Pool::default();
        let one = pool.share(Shared::from(7));
        let other = pool.share(Shared::from(7));
        assert!(Arc::ptr_eq(&one.0, &other.0));
        for unused in 1_000..5_000 {
            drop(pool.share(Shared::from(unused)));
        }
        assert!(pool.values.len() <= FEW, "{}", pool.values.len());
        assert!(Arc::ptr_eq(&one.0, &pool.share(Shared::from(7)).0));
    }
}
