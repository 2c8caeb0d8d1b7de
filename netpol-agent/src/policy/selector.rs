//! Labels by value, as policies state them. A large proposal holds millions, so they are slices whose texts are shared, and
//! what selects one workload is shared as a whole.

use std::sync::Arc;

/// Texts in order, each once.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Texts(Box<[Arc<str>]>);

/// Labels that must be there, each with one of some values. Never empty as a peer: an empty selector would match
/// everything.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Selector(Arc<[(Arc<str>, Texts)]>);

impl Texts {
    /// The texts, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|text| &**text)
    }

    /// The first.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|text| &**text)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one is `text`.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.0.binary_search_by(|one| (**one).cmp(text)).is_ok()
    }
}

impl<T: Into<Arc<str>>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut texts: Vec<Arc<str>> = texts.into_iter().map(Into::into).collect();
        if !texts.is_sorted_by(|a, b| a < b) {
            texts.sort_unstable();
            texts.dedup();
        }
        Self(texts.into())
    }
}

impl Selector {
    /// The keys, in order, each with its values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Texts)> {
        self.0.iter().map(|(key, values)| (&**key, values))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// The values of each key, in the order of the keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Texts> {
        self.iter().map(|(_, values)| values)
    }

    /// Whether it has no key, and so selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with other values of one key.
    #[must_use]
    pub fn with(&self, key: &str, values: Texts) -> Self {
        let all = self.0.iter().cloned();
        all.chain([(key.into(), values)]).collect()
    }
}

impl FromIterator<(Arc<str>, Texts)> for Selector {
    /// Of a key that comes again, the last values count.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Texts)>>(labels: I) -> Self {
        let mut labels: Vec<_> = labels.into_iter().collect();
        if !labels.is_sorted_by(|(a, _), (b, _)| a < b) {
            labels.sort_by(|(a, _), (b, _)| a.cmp(b));
            labels.dedup_by(|later, known| {
                let again = later.0 == known.0;
                if again {
                    std::mem::swap(&mut later.1, &mut known.1);
                }
                again
            });
        }
        Self(labels.into())
    }
}

impl FromIterator<(String, String)> for Selector {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        let one = |(key, value): (String, String)| (Arc::from(key), Texts::from_iter([value]));
        labels.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_in_order_and_each_once() {
        let texts: Texts = ["b", "a", "b", ""].into_iter().collect();
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["", "a", "b"]);
        assert_eq!((texts.len(), texts.first()), (3, Some("")));
        assert!(texts.contains("b") && !texts.contains("c"));
        assert!(Texts::default().is_empty() && !texts.is_empty());
        assert_eq!(Texts::from_iter(["a", "a"]).len(), 1);
    }

    #[test]
    fn the_last_values_of_a_key_count() {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let selector: Selector = [label("b", "1"), label("a", "2"), label("b", "3")]
            .into_iter()
            .collect();
        let written = |selector: &Selector| -> Vec<String> {
            let values = |values: &Texts| values.iter().collect::<Vec<_>>().join("|");
            let labels = selector.iter();
            labels
                .map(|(key, of)| format!("{key}={}", values(of)))
                .collect()
        };
        assert_eq!(written(&selector), ["a=2", "b=3"]);
        let backwards: Selector = [label("b", "1"), label("a", "2")].into_iter().collect();
        assert_eq!(written(&backwards), ["a=2", "b=1"]);
        let wider = selector.with("a", ["y", "x"].into_iter().collect());
        assert_eq!(written(&wider), ["a=x|y", "b=3"]);
    }
}
