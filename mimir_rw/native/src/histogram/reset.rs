//! Counter resets between two histograms that follow each other (promql-notes.md 13).

use std::iter::Peekable;

use super::arithmetic::within_zero_bucket;
use super::bounds::{custom_bound, exponential_bound};
use super::layout::reduced;
use super::{Buckets, FloatHistogram, ResetHint};

impl FloatHistogram {
    /// True when the counter began anew between `previous` and this histogram.
    pub fn is_reset_after(&self, previous: &Self) -> bool {
        match self.hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count || self.schema > previous.schema {
            return true;
        }
        if self.has_custom_buckets() {
            return !previous.has_custom_buckets() || self.custom_buckets_fell(previous);
        }
        if previous.has_custom_buckets() || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let zero = previous.widened_zero_bucket(self.zero_threshold, None);
        if zero.threshold != self.zero_threshold || self.zero_count < zero.count {
            return true;
        }
        self.side_fell(&self.positive, &previous.positive, previous.schema)
            || self.side_fell(&self.negative, &previous.negative, previous.schema)
    }

    /// Whether a bucket outside the zero bucket is lower than in `previous`, or missing though populated there.
    fn side_fell(&self, side: &Buckets, previous: &Buckets, previous_schema: i32) -> bool {
        let within = |side: &Buckets| within_zero_bucket(side, self.schema, self.zero_threshold);
        if self.schema == previous_schema && side.spans == previous.spans {
            let counts = side.counts.iter().zip(&previous.counts);
            return counts.skip(within(side)).any(|(now, then)| now < then);
        }
        let by = previous_schema.wrapping_sub(self.schema) as u32;
        let mut current = side.iter().peekable();
        let mut previous = previous
            .iter()
            .map(|(index, count)| (reduced(index, by), count))
            .peekable();
        let mut beyond = false;
        while let Some((index, mut count)) = previous.next() {
            while let Some((_, more)) = previous.next_if(|&(following, _)| following == index) {
                count += more;
            }
            beyond = beyond || exponential_bound(index, self.schema) > self.zero_threshold;
            if !beyond {
                continue;
            }
            if let Some(fell) = bucket_fell(&mut current, index, count) {
                return fell;
            }
        }
        false
    }

    fn custom_buckets_fell(&self, previous: &Self) -> bool {
        if self.custom == previous.custom {
            return self.side_fell_by_index(&previous.positive);
        }
        let (mut current, mut before) = (Rollup::new(self), Rollup::new(previous));
        let (mut i, mut j) = (0, 0);
        while i <= self.custom.len() as i64 && j <= previous.custom.len() as i64 {
            let (now, then) = (
                custom_bound(&self.custom, i),
                custom_bound(&previous.custom, j),
            );
            if now == then {
                if current.up_to(now) < before.up_to(now) {
                    return true;
                }
                (i, j) = (i + 1, j + 1);
            } else if now < then {
                i += 1;
            } else {
                j += 1;
            }
        }
        false
    }

    fn side_fell_by_index(&self, previous: &Buckets) -> bool {
        let mut current = self.positive.iter().peekable();
        let mut fell =
            (previous.iter()).filter_map(|(index, count)| bucket_fell(&mut current, index, count));
        fell.next().unwrap_or(false)
    }
}

/// Whether a bucket is lower than before; None if it is not and those after it decide. As the reference has it: where
/// there are no more buckets now, the first of those left over decides for all, though it may be the only empty one.
fn bucket_fell(
    current: &mut Peekable<impl Iterator<Item = (i64, f64)>>,
    index: i64,
    before: f64,
) -> Option<bool> {
    while current.next_if(|&(other, _)| other < index).is_some() {}
    let fell = match current.peek() {
        None => return Some(before != 0.0),
        Some(&(other, now)) if other == index => now < before,
        Some(_) => before != 0.0,
    };
    fell.then_some(true)
}

/// Takes the counts of custom buckets, one stretch of bounds after the other.
struct Rollup<'a> {
    counts: std::iter::Peekable<Box<dyn Iterator<Item = (f64, f64)> + 'a>>,
}

impl<'a> Rollup<'a> {
    fn new(histogram: &'a FloatHistogram) -> Self {
        let counts = histogram
            .positive
            .iter()
            .map(|(index, count)| (histogram.bound(index), count));
        let counts: Box<dyn Iterator<Item = (f64, f64)> + 'a> = Box::new(counts);
        Self {
            counts: counts.peekable(),
        }
    }

    /// The counts not yet taken of buckets that end at `bound` or below.
    fn up_to(&mut self, bound: f64) -> f64 {
        let mut sum = 0.0;
        while let Some((_, count)) = self.counts.next_if(|&(end, _)| end <= bound) {
            sum += count;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Span;

    fn with(spans: &[(i32, u32)], counts: &[f64]) -> FloatHistogram {
        let span = |&(offset, length): &(i32, u32)| Span { offset, length };
        FloatHistogram {
            count: 10.0,
            positive: Buckets {
                spans: spans.iter().map(span).collect(),
                counts: counts.to_vec(),
            },
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn a_bucket_that_falls_or_goes_is_a_reset() {
        let before = with(&[(0, 3)], &[1.0, 2.0, 0.0]);
        type Case<'a> = (&'a [(i32, u32)], &'a [f64], bool);
        let cases: [Case<'_>; 6] = [
            (&[(0, 3)], &[1.0, 2.0, 0.0], false),
            (&[(0, 3)], &[1.0, 1.0, 0.0], true),
            (&[(0, 2)], &[1.0, 2.0], false),
            (&[(1, 2)], &[3.0, 3.0], true),
            (&[(0, 1), (4, 1)], &[1.0, 9.0], true),
            (&[(0, 1)], &[1.0], true),
        ];
        for (spans, counts, reset) in cases {
            assert_eq!(
                with(spans, counts).is_reset_after(&before),
                reset,
                "{spans:?} {counts:?}"
            );
        }
    }

    #[test]
    fn behind_the_last_bucket_the_first_left_over_decides() {
        let before = with(&[(0, 3)], &[1.0, 0.0, 2.0]);
        assert!(!with(&[(0, 1)], &[1.0]).is_reset_after(&before));
        assert!(with(&[(0, 2)], &[1.0, 1.0]).is_reset_after(&before));
        assert!(with(&[(0, 1), (4, 1)], &[1.0, 1.0]).is_reset_after(&before));
        assert!(!with(&[], &[]).is_reset_after(&with(&[(0, 2)], &[0.0, 3.0])));
    }
}
