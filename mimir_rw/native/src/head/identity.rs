//! What tells samples of one series and time apart: the bits of a float, a hash of a histogram.
//!
//! Histograms that mean the same have one identity, however their buckets are laid out and whatever is known about
//! resets: empty buckets count for nothing. Two that differ share one with a chance of 2^-64.

use xxhash_rust::xxh64::Xxh64;

use crate::codec::histogram::absolute;
use crate::codec::histogram::spans::indices;
use crate::histogram::{FloatHistogram, Histogram, IntegerHistogram, Span};
use crate::windows::STALE_NAN_BITS;

pub fn of_histogram(histogram: &Histogram) -> u64 {
    match histogram {
        Histogram::Integer(histogram) => of_integer(histogram),
        Histogram::Float(histogram) => of(false, histogram),
    }
}

/// Of a histogram that is, or was, integer or float.
pub fn of(integer: bool, h: &FloatHistogram) -> u64 {
    let mut hash = Hash::new(integer, h.sum);
    if h.sum.to_bits() != STALE_NAN_BITS {
        hash.scalars(h.schema, [h.zero_threshold, h.zero_count, h.count]);
        hash.side(&h.positive.spans, h.positive.counts.iter().copied());
        hash.side(&h.negative.spans, h.negative.counts.iter().copied());
        hash.floats(&h.custom);
    }
    hash.0.digest()
}

/// The same number as of the integers as floats.
fn of_integer(h: &IntegerHistogram) -> u64 {
    let mut hash = Hash::new(true, h.sum);
    if h.sum.to_bits() != STALE_NAN_BITS {
        let (zero_count, count) = (h.zero_count as f64, h.count as f64);
        hash.scalars(h.schema, [h.zero_threshold, zero_count, count]);
        for side in [&h.positive, &h.negative] {
            hash.side(&side.spans, absolute(side).map(|count| count as f64));
        }
        hash.floats(&h.custom);
    }
    hash.0.digest()
}

struct Hash(Xxh64);

impl Hash {
    fn new(integer: bool, sum: f64) -> Self {
        let mut hash = Hash(Xxh64::new(u64::from(integer)));
        hash.put(sum.to_bits());
        hash
    }

    fn put(&mut self, v: u64) {
        self.0.update(&v.to_le_bytes());
    }

    fn scalars(&mut self, schema: i32, scalars: [f64; 3]) {
        self.put(schema as u64);
        self.floats(&scalars);
    }

    fn floats(&mut self, floats: &[f64]) {
        floats.iter().for_each(|float| self.put(float.to_bits()));
    }

    /// The buckets that hold something.
    fn side(&mut self, spans: &[Span], counts: impl Iterator<Item = f64>) {
        for (at, count) in indices(spans).zip(counts) {
            if count != 0.0 {
                self.put(at as u64);
                self.put(count.to_bits());
            }
        }
        // No bucket has this index.
        self.put(u64::MAX >> 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::histogram::tests::Dice;

    #[test]
    fn integers_have_the_identity_of_the_same_floats() {
        let mut dice = Dice(1);
        for _ in 0..200 {
            let h = dice.histogram();
            assert_eq!(of_histogram(&h), of(true, &h.to_float()));
            assert_ne!(of_histogram(&h), of(false, &h.to_float()));
        }
    }
}
