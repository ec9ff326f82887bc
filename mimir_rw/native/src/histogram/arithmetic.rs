//! Sums, differences and multiples of histograms (promql-notes.md 13).
//!
//! The receiver is changed in place; a result may have empty buckets until it is compacted. Layouts need not agree:
//! the lower schema, the wider zero bucket and the shared custom bounds win.

use super::bounds::exponential_bound;
use super::custom::{Shared, shared_bounds};
use super::layout::indices;
use super::{Buckets, CUSTOM_BUCKETS, FloatHistogram, ResetHint};

/// Exponential buckets cannot be combined with custom ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incompatible;

/// What an addition met on its way to a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// One histogram was known to follow a reset, the other not to.
    pub reset_collision: bool,
    /// Custom bounds differed; the result has those in common.
    pub bounds_reconciled: bool,
}

impl Noted {
    pub fn merge(&mut self, other: Self) {
        self.reset_collision |= other.reset_collision;
        self.bounds_reconciled |= other.bounds_reconciled;
    }
}

impl ResetHint {
    /// The hint of a sum of histograms with these hints, and whether they contradict each other.
    pub fn combined(self, other: Self) -> (Self, bool) {
        match (self, other) {
            (a, b) if a == b => (a, false),
            (Self::Gauge, _) | (_, Self::Gauge) => (Self::Gauge, false),
            (Self::Unknown, _) | (_, Self::Unknown) => (Self::Unknown, false),
            _ => (Self::Unknown, true),
        }
    }
}

/// How many of the first buckets end within the zero bucket.
pub(super) fn within_zero_bucket(side: &Buckets, schema: i32, threshold: f64) -> usize {
    let below = |&index: &i64| exponential_bound(index, schema) <= threshold;
    indices(&side.spans).take_while(below).count()
}

impl FloatHistogram {
    pub fn add(&mut self, other: &Self) -> Result<Noted, Incompatible> {
        self.add_signed(other, 1.0)
    }

    /// The hint becomes that of a sum: the operator "-" makes it a gauge afterwards.
    pub fn sub(&mut self, other: &Self) -> Result<Noted, Incompatible> {
        self.add_signed(other, -1.0)
    }

    fn add_signed(&mut self, other: &Self, sign: f64) -> Result<Noted, Incompatible> {
        let mut noted = self.combine_hints(other)?;
        if self.has_custom_buckets() {
            noted.bounds_reconciled = self.add_custom(other, sign);
        } else {
            self.add_exponential(other, sign);
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        Ok(noted)
    }

    pub(super) fn combine_hints(&mut self, other: &Self) -> Result<Noted, Incompatible> {
        if self.has_custom_buckets() != other.has_custom_buckets() {
            return Err(Incompatible);
        }
        let (hint, reset_collision) = self.hint.combined(other.hint);
        self.hint = hint;
        Ok(Noted {
            reset_collision,
            bounds_reconciled: false,
        })
    }

    fn add_custom(&mut self, other: &Self, sign: f64) -> bool {
        if self.custom == other.custom {
            self.positive.add(&other.positive, 0, sign);
            return false;
        }
        let mut shared = Shared::new(shared_bounds(&self.custom, &other.custom));
        shared.add(&self.positive, &self.custom, &[], 1.0);
        shared.add(&other.positive, &other.custom, &[], sign);
        (self.custom, self.positive, _) = shared.finish();
        true
    }

    fn add_exponential(&mut self, other: &Self, sign: f64) {
        self.zero_count += sign * self.reconcile_zero_buckets(other, None).count;
        if other.schema < self.schema {
            self.reduce_resolution(other.schema);
        }
        let (schema, threshold) = (self.schema, self.zero_threshold);
        let by = (other.schema - schema) as u32;
        let add = |own: &mut Buckets, others: &Buckets| {
            let less;
            let others = match by {
                0 => others,
                _ => {
                    less = others.reduced(by);
                    &less
                }
            };
            own.add(others, within_zero_bucket(others, schema, threshold), sign);
        };
        add(&mut self.positive, &other.positive);
        add(&mut self.negative, &other.negative);
    }

    /// All counts and the sum times `factor`; a negative factor makes a gauge.
    pub fn scale(&mut self, factor: f64) {
        self.each_number(|number| *number *= factor);
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// All counts and the sum divided; 0 leaves no buckets, a negative divisor makes a gauge.
    pub fn divide(&mut self, divisor: f64) {
        if divisor == 0.0 {
            (self.positive, self.negative) = Default::default();
        }
        self.each_number(|number| *number /= divisor);
        if divisor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    fn each_number(&mut self, change: impl Fn(&mut f64)) {
        change(&mut self.zero_count);
        change(&mut self.count);
        change(&mut self.sum);
        self.positive.counts.iter_mut().for_each(&change);
        self.negative.counts.iter_mut().for_each(&change);
    }

    /// Remove empty buckets.
    pub fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// Merge buckets to a lower schema. Nothing changes where the schema is not lower, or a side has custom buckets.
    pub fn reduce_resolution(&mut self, schema: i32) {
        if self.has_custom_buckets() || schema == CUSTOM_BUCKETS || schema >= self.schema {
            return;
        }
        let by = (self.schema - schema) as u32;
        self.positive = self.positive.reduced(by);
        self.negative = self.negative.reduced(by);
        self.schema = schema;
    }

    /// A copy at a schema that is not higher.
    pub fn to_schema(&self, schema: i32) -> Self {
        if self.has_custom_buckets() || schema == CUSTOM_BUCKETS || schema >= self.schema {
            return self.clone();
        }
        let by = (self.schema - schema) as u32;
        Self {
            schema,
            positive: self.positive.reduced(by),
            negative: self.negative.reduced(by),
            custom: self.custom.clone(),
            ..*self
        }
    }

    /// Equality of data: the same buckets with the same bits, whatever the hints say.
    pub fn same_as(&self, other: &Self) -> bool {
        let numbers = |h: &Self| [h.count, h.sum, h.zero_count].map(f64::to_bits);
        self.schema == other.schema
            && numbers(self) == numbers(other)
            && self.zero_threshold == other.zero_threshold
            && (!self.has_custom_buckets() || self.custom == other.custom)
            && self.positive.same_as(&other.positive)
            && self.negative.same_as(&other.negative)
    }

    /// The largest absolute number in it; NaNs aside.
    pub fn magnitude(&self) -> f64 {
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        let first = self
            .zero_count
            .abs()
            .max(self.count.abs())
            .max(self.sum.abs());
        counts.fold(first, |most, count| most.max(count.abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::super::compensated::{HistogramMean, HistogramSum};
    use super::*;

    fn side(offset: i32, counts: &[f64]) -> Buckets {
        Buckets {
            spans: vec![Span {
                offset,
                length: counts.len() as u32,
            }],
            counts: counts.to_vec(),
        }
    }

    fn histogram(schema: i32, offset: i32, counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema,
            count: counts.iter().sum(),
            sum: 10.0,
            positive: side(offset, counts),
            ..FloatHistogram::default()
        }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            custom: bounds.into(),
            ..histogram(CUSTOM_BUCKETS, 0, counts)
        }
    }

    fn cells(buckets: &Buckets) -> Vec<(i64, f64)> {
        buckets.iter().collect()
    }

    #[test]
    fn missing_buckets_are_made_and_empty_ones_go_when_compacted() {
        let mut a = histogram(0, -2, &[1.0, 2.0]);
        assert_eq!(a.add(&histogram(0, 2, &[3.0])), Ok(Noted::default()));
        a.add(&histogram(0, -1, &[-2.0, 0.0, 5.0]))
            .expect("one kind");
        assert_eq!(
            cells(&a.positive),
            [(-2, 1.0), (-1, 0.0), (0, 0.0), (1, 5.0), (2, 3.0)]
        );
        a.compact();
        assert_eq!(cells(&a.positive), [(-2, 1.0), (1, 5.0), (2, 3.0)]);
        assert_eq!(a.positive.spans.len(), 2);
        assert_eq!(a.sum, 30.0);
    }

    #[test]
    fn the_lower_schema_wins() {
        let fine = histogram(1, -1, &[1.0, 2.0, 4.0, 8.0]);
        let coarse = histogram(0, 0, &[10.0, 20.0]);
        // Buckets -1..=2 of schema 1 are 0, 0, 1, 1 of schema 0.
        let mut sum = fine.clone();
        sum.add(&coarse).expect("one kind");
        assert_eq!(
            (sum.schema, cells(&sum.positive)),
            (0, vec![(0, 13.0), (1, 32.0)])
        );
        let mut difference = coarse;
        difference.sub(&fine).expect("one kind");
        assert_eq!(cells(&difference.positive), [(0, 7.0), (1, 8.0)]);
    }

    #[test]
    fn the_wider_zero_bucket_swallows_to_the_edge_of_a_populated_bucket() {
        let mut narrow = histogram(0, -1, &[1.0, 2.0, 4.0]); // (0.25,0.5] (0.5,1] (1,2]
        narrow.negative = side(0, &[8.0]); // [-1,-0.5)
        let wide = FloatHistogram {
            zero_threshold: 0.75,
            zero_count: 16.0,
            ..histogram(0, 1, &[32.0])
        };
        for (mut a, b) in [(narrow.clone(), wide.clone()), (wide, narrow)] {
            a.add(&b).expect("one kind");
            a.compact();
            assert_eq!((a.zero_threshold, a.zero_count), (1.0, 27.0));
            assert_eq!(cells(&a.positive), [(1, 36.0)]);
            assert!(a.negative.counts.is_empty());
        }
    }

    #[test]
    fn custom_bounds_meet_in_what_they_share() {
        let mut a = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0, 8.0]);
        let noted = a
            .add(&custom(&[2.0, 2.5, 3.0], &[16.0, 32.0, 64.0, 128.0]))
            .expect("one kind");
        assert!(noted.bounds_reconciled);
        assert_eq!(a.custom[..], [2.0, 3.0]);
        assert_eq!(cells(&a.positive), [(0, 19.0), (1, 100.0), (2, 136.0)]);
        assert_eq!(a.add(&histogram(0, 0, &[1.0])), Err(Incompatible));
    }

    #[test]
    fn hints_combine() {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        assert_eq!(Reset.combined(Reset), (Reset, false));
        assert_eq!(Reset.combined(NotReset), (Unknown, true));
        assert_eq!(Reset.combined(Unknown), (Unknown, false));
        assert_eq!(NotReset.combined(Gauge), (Gauge, false));
    }

    #[test]
    fn a_division_by_zero_leaves_no_buckets() {
        let mut h = histogram(0, 0, &[1.0, 2.0]);
        h.divide(0.0);
        assert!(h.positive.spans.is_empty() && h.positive.counts.is_empty());
        assert_eq!(h.count, f64::INFINITY);
        let mut h = histogram(0, 0, &[1.0]);
        h.scale(-2.0);
        assert_eq!(
            (h.hint, h.count, h.positive.counts[0]),
            (ResetHint::Gauge, -2.0, -2.0)
        );
    }

    #[test]
    fn compensated_sums_keep_small_numbers() {
        let terms = [1e100, 1.0, -1e100, 1.0].map(|x| histogram(0, 0, &[x]));
        let mut sum = HistogramSum::new(&terms[0]);
        terms[1..]
            .iter()
            .for_each(|term| sum.add(term).expect("one kind"));
        assert_eq!(cells(&sum.finish().positive), [(0, 2.0)]);
    }

    #[test]
    fn a_mean_does_not_overflow() {
        let big = histogram(0, 0, &[f64::MAX / 1.5]);
        let mut mean = HistogramMean::new(&big);
        for _ in 0..4 {
            mean.add(&big).expect("one kind");
        }
        let mean = mean.finish();
        assert!((mean.count / big.count - 1.0).abs() < 1e-15);
        assert_eq!(mean.sum, 10.0);
    }

    #[test]
    fn resets_are_seen() {
        let before = histogram(0, 0, &[1.0, 0.0, 2.0]);
        let cases = [
            (histogram(0, 0, &[1.0, 0.0, 2.0]), false),
            (histogram(0, 0, &[5.0, 0.0, 1.0]), true),
            (histogram(0, 1, &[5.0, 5.0]), true),
            (histogram(0, 0, &[2.0]), true),
            (histogram(-1, 0, &[1.0, 2.0]), false),
            (histogram(-1, 0, &[2.0, 1.0]), true),
            (histogram(1, 0, &[9.0]), true),
            (custom(&[1.0], &[9.0]), true),
        ];
        for (number, (after, reset)) in cases.into_iter().enumerate() {
            assert_eq!(after.is_reset_after(&before), reset, "case {number}");
            let hinted = |hint| {
                FloatHistogram {
                    hint,
                    ..after.clone()
                }
                .is_reset_after(&before)
            };
            assert!(hinted(ResetHint::Reset) && !hinted(ResetHint::NotReset));
        }
        let wide = |zero_threshold, zero_count| FloatHistogram {
            zero_threshold,
            zero_count,
            ..histogram(0, 1, &[9.0, 9.0])
        };
        assert!(!wide(1.0, 1.0).is_reset_after(&before));
        assert!(wide(1.0, 0.5).is_reset_after(&before));
        assert!(wide(0.75, 1.0).is_reset_after(&before));
        assert!(before.is_reset_after(&wide(1.0, 0.0)));
        let a = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0, 8.0]);
        assert!(!custom(&[2.0, 3.0], &[3.0, 4.0, 8.0]).is_reset_after(&a));
        assert!(custom(&[2.0, 3.0], &[2.0, 14.0, 8.0]).is_reset_after(&a));
    }

    #[test]
    fn equality_is_of_bits_and_layout() {
        let a = histogram(0, 0, &[1.0, 2.0]);
        assert!(a.same_as(&FloatHistogram {
            hint: ResetHint::Gauge,
            ..a.clone()
        }));
        assert!(!a.same_as(&histogram(0, 1, &[1.0, 2.0])));
        let mut split = a.clone();
        split.positive.spans = vec![
            Span {
                offset: -1,
                length: 0,
            },
            Span {
                offset: 1,
                length: 2,
            },
        ];
        assert!(a.same_as(&split));
        let nan = FloatHistogram {
            sum: f64::NAN,
            ..a.clone()
        };
        assert!(nan.same_as(&nan.clone()) && !nan.same_as(&a));
    }
}
