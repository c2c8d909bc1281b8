//! Numbers that look random and are the same everywhere.

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), known as
/// SplitMix64: a counter in steps of the golden ratio's 64 bits, mixed by two multiplications. The seed of a campaign
/// means what it means by this algorithm and by [`Random::below`], so neither may ever change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The sequence of one item of a seed's: independent of how many numbers the items before it took.
    pub fn of(seed: u64, item: u64) -> Random {
        Random(mix(seed.wrapping_add(GAMMA)) ^ mix(item.wrapping_mul(GAMMA).wrapping_add(1)))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// One of `0..bound`, each equally likely; 0 where there is none. The upper 32 bits times the bound, of which the
    /// upper half counts; what would make some results likelier is drawn again (Lemire, "Fast random integer generation
    /// in an interval", 2019).
    pub fn below(&mut self, bound: u32) -> u32 {
        loop {
            let product = (self.bits() >> 32) * u64::from(bound);
            if bound == 0 || product as u32 >= bound.wrapping_neg() % bound {
                return (product >> 32) as u32;
            }
        }
    }

    /// True in `times` of `of` cases.
    pub fn chance(&mut self, times: u32, of: u32) -> bool {
        self.below(of) < times
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u32) as usize)
    }

    /// One of these, each as likely as its weight says.
    pub fn weighted<'a, T>(&mut self, from: &'a [T], weight: impl Fn(&T) -> u32) -> Option<&'a T> {
        let mut left = self.below(from.iter().map(&weight).sum());
        from.iter().find(|item| match left.checked_sub(weight(item)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_algorithm() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..5).map(|_| random.bits()).collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(first, published);
    }

    #[test]
    fn every_number_below_the_bound_comes_equally_often() {
        let mut random = Random::new(7);
        let mut counts = [0_u32; 6];
        (0..60_000).for_each(|_| counts[random.below(6) as usize] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
    }

    #[test]
    fn weights_are_kept_and_what_has_none_never_comes() {
        let mut random = Random::new(7);
        let mut counts = [0_u32; 3];
        (0..40_000).for_each(|_| counts[*random.weighted(&[0, 1, 2], |item| [3, 0, 1][*item]).unwrap()] += 1);
        assert!((29_500..30_500).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
        assert_eq!(random.weighted(&[1, 2], |_| 0), None);
    }

    #[test]
    fn items_of_a_seed_have_sequences_of_their_own() {
        let first = |seed, item| Random::of(seed, item).bits();
        let mut all: Vec<u64> = (0..100).flat_map(|seed| (0..100).map(move |item| first(seed, item))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }
}
