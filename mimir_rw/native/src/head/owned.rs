//! Which series of a head its instance owns: those whose ring token lies in its ranges.
//!
//! The local series limit counts owned series only (design.md 4). Ranges change with the ring, series come one by one,
//! so the count is made anew for new ranges and kept up to date between.

/// Disjoint ranges of tokens, both ends inclusive, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRanges(Vec<(u32, u32)>);

const END: i64 = 1 << 32;

impl TokenRanges {
    /// From half-open ranges in any order. An end of 0 means 2^32; a range that ends before it starts wraps. None: a
    /// number is no token.
    pub fn new(ranges: impl Iterator<Item = (i64, i64)>) -> Option<Self> {
        let mut inclusive = Vec::new();
        for (start, end) in ranges {
            let end = if end == 0 { END } else { end };
            if !(0..END).contains(&start) || !(1..=END).contains(&end) {
                return None;
            }
            match start < end {
                true => inclusive.push((start as u32, (end - 1) as u32)),
                false if start == end => {}
                false => {
                    inclusive.push((start as u32, u32::MAX));
                    inclusive.push((0, (end - 1) as u32));
                }
            }
        }
        inclusive.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(inclusive.len());
        for (first, last) in inclusive {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        Some(Self(merged))
    }

    pub fn contains(&self, token: u32) -> bool {
        let after = self.0.partition_point(|range| range.0 <= token);
        after > 0 && token <= self.0[after - 1].1
    }
}

pub struct Owned {
    pub ranges: TokenRanges,
    /// A bit per series.
    bits: Vec<u64>,
    pub count: u64,
}

impl Owned {
    pub fn new(ranges: TokenRanges, tokens: &[u32]) -> Self {
        let mut owned = Owned {
            ranges,
            bits: Vec::with_capacity(tokens.len().div_ceil(64)),
            count: 0,
        };
        for (sid, &token) in tokens.iter().enumerate() {
            owned.push(sid as u32, token);
        }
        owned
    }

    /// The next series.
    pub fn push(&mut self, sid: u32, token: u32) {
        let word = sid as usize / 64;
        if word == self.bits.len() {
            self.bits.push(0);
        }
        if self.ranges.contains(token) {
            self.bits[word] |= 1 << (sid % 64);
            self.count += 1;
        }
    }

    /// The same of the series with these numbers, in this order.
    pub fn renumbered(&self, order: &[u32]) -> Self {
        let mut owned = Owned {
            ranges: self.ranges.clone(),
            bits: vec![0; order.len().div_ceil(64)],
            count: 0,
        };
        for (new, _) in order.iter().enumerate().filter(|(_, old)| self.has(**old)) {
            owned.bits[new / 64] |= 1 << (new % 64);
            owned.count += 1;
        }
        owned
    }

    pub fn has(&self, sid: u32) -> bool {
        self.bits[sid as usize / 64] >> (sid % 64) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(i64, i64)]) -> TokenRanges {
        TokenRanges::new(of.iter().copied()).unwrap()
    }

    #[test]
    fn ends_are_exclusive_zero_is_the_top_and_ranges_wrap() {
        let some = ranges(&[(10, 20), (30, 31)]);
        let held: Vec<u32> = (0..40).filter(|&t| some.contains(t)).collect();
        assert_eq!(held, [(10..20).collect(), vec![30]].concat());
        assert!(ranges(&[(0, 0)]).contains(0) && ranges(&[(0, 0)]).contains(u32::MAX));
        assert_eq!(ranges(&[(0, END)]), ranges(&[(0, 0)]));
        let wrapped = ranges(&[(END - 2, 2)]);
        assert_eq!(
            [0, 1, 2, u32::MAX - 1, u32::MAX - 2].map(|t| wrapped.contains(t)),
            [true, true, false, true, false]
        );
        assert_eq!(ranges(&[(5, 5)]), ranges(&[]));
        assert_eq!(ranges(&[(20, 30), (10, 25)]), ranges(&[(10, 30)]));
        for bad in [(-1, 5), (0, END + 1), (END, 0), (5, -1)] {
            assert_eq!(TokenRanges::new([bad].into_iter()), None);
        }
    }

    #[test]
    fn new_series_are_counted_as_they_come() {
        let tokens: Vec<u32> = (0..300).map(|i| i * 7919 % 1000).collect();
        let some = ranges(&[(100, 400), (900, 0)]);
        let mut owned = Owned::new(some.clone(), &tokens[..100]);
        for (sid, &token) in tokens.iter().enumerate().skip(100) {
            owned.push(sid as u32, token);
        }
        let want: Vec<bool> = tokens.iter().map(|&t| some.contains(t)).collect();
        assert_eq!((0..300).map(|sid| owned.has(sid)).collect::<Vec<_>>(), want);
        assert_eq!(owned.count, want.iter().filter(|&&w| w).count() as u64);
    }
}
