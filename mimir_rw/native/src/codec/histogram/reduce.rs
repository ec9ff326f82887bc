//! Histograms of a finer resolution than the engine knows (schemas 9 to 52), as newer writers may store them.

use std::num::Wrapping;

use super::absolute;
use super::spans::{from_indices, indices};
use crate::histogram::stored::DeltaBuckets;
use crate::histogram::{Buckets, FloatHistogram, IntegerHistogram, Span};

/// Finest resolution that is computed with.
pub const SCHEMA_MAX: i32 = 8;

/// The histogram, its buckets joined to those of `SCHEMA_MAX` if they are finer.
pub fn to_known(mut histogram: FloatHistogram) -> FloatHistogram {
    if histogram.schema > SCHEMA_MAX {
        let finer = (histogram.schema - SCHEMA_MAX) as u32;
        for side in [&mut histogram.positive, &mut histogram.negative] {
            let (spans, counts) = joined(&side.spans, &side.counts, finer);
            *side = Buckets { spans, counts };
        }
        histogram.schema = SCHEMA_MAX;
    }
    histogram
}

/// As `to_known`.
pub fn integer_to_known(mut histogram: IntegerHistogram) -> IntegerHistogram {
    if histogram.schema > SCHEMA_MAX {
        let finer = (histogram.schema - SCHEMA_MAX) as u32;
        for side in [&mut histogram.positive, &mut histogram.negative] {
            let counts: Vec<Wrapping<i64>> = absolute(side).map(Wrapping).collect();
            let (spans, counts) = joined(&side.spans, &counts, finer);
            let mut before = 0i64;
            let delta = |count: Wrapping<i64>| {
                count
                    .0
                    .wrapping_sub(std::mem::replace(&mut before, count.0))
            };
            *side = DeltaBuckets {
                deltas: counts.into_iter().map(delta).collect(),
                spans,
            };
        }
        histogram.schema = SCHEMA_MAX;
    }
    histogram
}

/// 2^finer buckets become one: index i goes to ceil(i / 2^finer).
pub fn joined<B: Copy + std::ops::AddAssign>(
    spans: &[Span],
    counts: &[B],
    finer: u32,
) -> (Vec<Span>, Vec<B>) {
    let (mut at, mut joined): (Vec<i64>, Vec<B>) = (Vec::new(), Vec::new());
    for (index, &count) in indices(spans).zip(counts) {
        let index = ((index - 1) >> finer) + 1;
        match joined.last_mut() {
            Some(sum) if at.last() == Some(&index) => *sum += count,
            _ => {
                at.push(index);
                joined.push(count);
            }
        }
    }
    (from_indices(at.into_iter()), joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        let spans = [
            Span {
                offset: -3,
                length: 4,
            },
            Span {
                offset: 2,
                length: 3,
            },
        ];
        let (spans, counts) = joined(&spans, &[1, 2, 3, 4, 5, 6, 7], 1);
        // Buckets -3 -2 -1 0 3 4 5 go to -1 -1 0 0 2 2 3.
        assert_eq!(counts, [3, 7, 11, 7]);
        let span = |offset, length| Span { offset, length };
        assert_eq!(spans, [span(-1, 2), span(1, 2)]);
    }
}
