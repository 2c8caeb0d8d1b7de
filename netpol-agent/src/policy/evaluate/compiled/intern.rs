//! Numbers for values, the same for equal values.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by number, in the order in which they first came.
#[derive(Clone, Debug)]
pub(super) struct Interner<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    pub(super) fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            values: Vec::new(),
        }
    }

    /// The number of a value.
    pub(super) fn number(&mut self, value: T) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = index(self.values.len());
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    /// The value of a number.
    pub(super) fn get(&self, number: u32) -> &T {
        &self.values[number as usize]
    }

    /// Every value, by its number.
    pub(super) fn into_values(self) -> Vec<T> {
        self.values
    }
}

/// A position as a number of half its size.
pub(super) fn index(position: usize) -> u32 {
    u32::try_from(position).expect("no table grows to 2^32 entries: memory ends before")
}
