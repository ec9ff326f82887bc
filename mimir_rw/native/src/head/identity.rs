//! What tells samples of one series and time apart: the bits of a float, a hash of a histogram.
//!
//! Histograms that mean the same have one identity, however their buckets are laid out and whatever is known about
//! resets: empty buckets count for nothing. Two that differ share one with a chance of 2^-64.

use xxhash_rust::xxh64::Xxh64;

use crate::codec::histogram::spans::indices;
use crate::histogram::{FloatHistogram, Histogram, Span};
use crate::windows::STALE_NAN_BITS;

pub fn of_histogram(histogram: &Histogram) -> u64 {
    match histogram {
        Histogram::Integer(_) => of(true, &histogram.to_float()),
        Histogram::Float(histogram) => of(false, histogram),
    }
}

/// Of a histogram that is, or was, integer or float.
pub fn of(integer: bool, histogram: &FloatHistogram) -> u64 {
    let mut hash = Xxh64::new(u64::from(integer));
    let mut put = |v: u64| hash.update(&v.to_le_bytes());
    put(histogram.sum.to_bits());
    if histogram.sum.to_bits() != STALE_NAN_BITS {
        put(histogram.schema as u64);
        for number in [
            histogram.zero_threshold,
            histogram.zero_count,
            histogram.count,
        ] {
            put(number.to_bits());
        }
        for side in [&histogram.positive, &histogram.negative] {
            for (at, count) in used(&side.spans, &side.counts) {
                put(at as u64);
                put(count.to_bits());
            }
            // No bucket has this index.
            put(u64::MAX >> 1);
        }
        for bound in histogram.custom.iter() {
            put(bound.to_bits());
        }
    }
    hash.digest()
}

fn used<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i64, f64)> + 'a {
    let all = indices(spans).zip(counts.iter().copied());
    all.filter(|(_, count)| *count != 0.0)
}
