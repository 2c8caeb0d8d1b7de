//! A small random number generator whose numbers are the same everywhere, for resampling.

/// SplitMix64. Source: G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014, 453–472.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A generator whose numbers depend on these alone, in their order.
    pub(super) fn seeded(by: impl IntoIterator<Item = u64>) -> Self {
        let mut random = Self(0);
        for number in by {
            random.0 = random.next() ^ number;
        }
        random
    }

    /// A number below `bound`, which is at least 1. The bias is less than `bound` in 2⁶⁴.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next()) * bound as u128;
        (product >> 64) as usize
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_numbers_are_the_published_ones() {
        let mut random = Random(1_234_567);
        let first = [random.next(), random.next(), random.next()];
        let known = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(first, known);
    }

    #[test]
    fn what_it_is_seeded_by_counts_and_its_order_does() {
        let first = |by: &[u64]| Random::seeded(by.iter().copied()).next();
        assert_eq!(first(&[3, 1]), first(&[3, 1]));
        assert_ne!(first(&[3, 1]), first(&[1, 3]));
        let by_bits: std::collections::BTreeSet<u64> = (0..16).map(|by| first(&[by])).collect();
        assert_eq!(by_bits.len(), 16);
    }

    #[test]
    fn every_number_below_the_bound_comes() {
        let mut random = Random::seeded([3, 1]);
        let mut counts = [0; 7];
        (0..7_000).for_each(|_| counts[random.below(7)] += 1);
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }
}
