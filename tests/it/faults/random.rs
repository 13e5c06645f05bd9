//! Repeatable random choices: the same seed gives the same choices. Not from a library, whose results may change
//! with its version.

use std::time::Duration;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Another sequence for each name, so that one part's choices do not depend on how often another part asks.
    pub fn named(seed: u64, name: &str) -> Self {
        let mixed = name
            .bytes()
            .fold(seed, |mixed, byte| Self(mixed ^ u64::from(byte)).next());
        Self(mixed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to one below the limit.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).expect("usize is no longer than u64");
        usize::try_from(self.next() % limit).expect("below a usize")
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }

    /// Between two numbers of milliseconds.
    pub fn millis(&mut self, from: usize, to: usize) -> Duration {
        let millis = from + self.below(to - from + 1);
        Duration::from_millis(u64::try_from(millis).expect("usize is no longer than u64"))
    }
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let choices = |seed| {
        let mut random = Random::named(seed, "kinds");
        let mut kinds: Vec<usize> = (0..30).collect();
        random.shuffle(&mut kinds);
        kinds
    };
    assert_eq!(choices(1), choices(1));
    assert_ne!(choices(1), choices(2));
    let mut sorted = choices(1);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..30).collect::<Vec<_>>());
}
