//! Whether a histogram may be stored (remote-write.md 4). Ids are Mimir's catalogue entries without `err-mimir-`.

use std::fmt;

use super::{Buckets, CUSTOM_BUCKETS, FloatHistogram, Histogram, IntegerHistogram, Span};
use crate::histogram::stored::DeltaBuckets;

pub const SCHEMA_MIN: i32 = -4;
pub const SCHEMA_MAX: i32 = 8;

/// Why a histogram cannot be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Invalid {
    Schema(i32),
    /// Number of the span from 1, and its offset.
    SpanOffset(usize, i32),
    SpanReach,
    SpanBuckets {
        spans: u64,
        buckets: usize,
    },
    /// Number of the bucket from 1.
    NegativeBucket(usize),
    NegativeCount,
    CountMismatch {
        buckets: u64,
        count: u64,
    },
    CountNotBigEnough {
        buckets: u64,
        count: u64,
    },
    BoundNan,
    BoundsNotAscending(f64, f64),
    BoundInfinite,
    BoundsTooFew {
        bounds: usize,
        reach: u64,
    },
    CustomWithZeroBucket,
    CustomWithNegativeSide,
    BoundsWithoutCustomBuckets,
}

impl Invalid {
    pub fn id(&self) -> &'static str {
        match self {
            Self::Schema(_) => "invalid-native-histogram-schema",
            Self::SpanOffset(..) | Self::SpanReach => "native-histogram-span-negative-offset",
            Self::SpanBuckets { .. } => "native-histogram-spans-buckets-mismatch",
            Self::NegativeBucket(_) | Self::NegativeCount => {
                "native-histogram-negative-bucket-count"
            }
            Self::CountMismatch { .. } => "native-histogram-count-mismatch",
            Self::CountNotBigEnough { .. } => "native-histogram-count-not-big-enough",
            Self::BoundInfinite => "native-histogram-custom-buckets-infinite",
            Self::BoundsTooFew { .. } => "native-histogram-custom-buckets-mismatch",
            Self::BoundNan
            | Self::BoundsNotAscending(..)
            | Self::CustomWithZeroBucket
            | Self::CustomWithNegativeSide
            | Self::BoundsWithoutCustomBuckets => "native-histogram-custom-buckets-invalid",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(schema) => write!(
                f,
                "has schema {schema}, which is neither {SCHEMA_MIN} to {SCHEMA_MAX} nor {CUSTOM_BUCKETS}"
            ),
            Self::SpanOffset(n, offset) => {
                write!(f, "has a span, number {n}, with the offset {offset}")
            }
            Self::SpanReach => f.write_str("has spans that reach beyond any bucket"),
            Self::SpanBuckets { spans, buckets } => {
                write!(f, "has {buckets} buckets and spans for {spans}")
            }
            Self::NegativeBucket(n) => {
                write!(
                    f,
                    "has a bucket, number {n}, with less than no observations"
                )
            }
            Self::NegativeCount => f.write_str("has a negative number of observations"),
            Self::CountMismatch { buckets, count } => write!(
                f,
                "has {buckets} observations in its buckets and the count {count}"
            ),
            Self::CountNotBigEnough { buckets, count } => write!(
                f,
                "has {buckets} observations in its buckets, more than the count {count}"
            ),
            Self::BoundNan => f.write_str("has a bucket bound that is no number"),
            Self::BoundsNotAscending(before, bound) => {
                write!(f, "has a bucket bound of {bound} after one of {before}")
            }
            Self::BoundInfinite => f.write_str("names the last bucket bound, +Inf"),
            Self::BoundsTooFew { bounds, reach } => {
                write!(f, "has {bounds} bucket bounds, and spans to bucket {reach}")
            }
            Self::CustomWithZeroBucket => f.write_str("has custom buckets and a zero bucket"),
            Self::CustomWithNegativeSide => {
                f.write_str("has custom buckets and buckets of negative values")
            }
            Self::BoundsWithoutCustomBuckets => {
                f.write_str("has bucket bounds and an exponential schema")
            }
        }
    }
}

impl Histogram {
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::Integer(histogram) => histogram.validate(),
            Self::Float(histogram) => histogram.validate(),
        }
    }
}

impl IntegerHistogram {
    fn validate(&self) -> Result<(), Invalid> {
        check_layout(&Layout {
            schema: self.schema,
            zero_bucket: self.zero_count != 0 || self.zero_threshold != 0.0,
            positive: (&self.positive.spans, self.positive.deltas.len()),
            negative: (&self.negative.spans, self.negative.deltas.len()),
            custom: &self.custom,
        })?;
        let total = |side: &DeltaBuckets| side.observations();
        let (negative, positive) = (total(&self.negative)?, total(&self.positive)?);
        let buckets = self
            .zero_count
            .saturating_add(negative)
            .saturating_add(positive);
        let count = self.count;
        if self.sum.is_nan() {
            match buckets > count {
                true => Err(Invalid::CountNotBigEnough { buckets, count }),
                false => Ok(()),
            }
        } else if buckets != count {
            Err(Invalid::CountMismatch { buckets, count })
        } else {
            Ok(())
        }
    }
}

impl DeltaBuckets {
    fn observations(&self) -> Result<u64, Invalid> {
        let (mut count, mut total) = (0i64, 0u64);
        for (i, &delta) in self.deltas.iter().enumerate() {
            let next = count.checked_add(delta).filter(|&next| next >= 0);
            count = next.ok_or(Invalid::NegativeBucket(i + 1))?;
            total = total.saturating_add(count as u64);
        }
        Ok(total)
    }
}

impl FloatHistogram {
    /// Counts are not held against each other: they may have been rounded on their way.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_layout(&Layout {
            schema: self.schema,
            zero_bucket: self.zero_count != 0.0 || self.zero_threshold != 0.0,
            positive: (&self.positive.spans, self.positive.counts.len()),
            negative: (&self.negative.spans, self.negative.counts.len()),
            custom: &self.custom,
        })?;
        for Buckets { counts, .. } in [&self.negative, &self.positive] {
            if let Some(i) = counts.iter().position(|&count| count < 0.0) {
                return Err(Invalid::NegativeBucket(i + 1));
            }
        }
        match self.zero_count < 0.0 || self.count < 0.0 {
            true => Err(Invalid::NegativeCount),
            false => Ok(()),
        }
    }
}

/// What both flavours have. A side: its spans and the number of its buckets.
struct Layout<'a> {
    schema: i32,
    zero_bucket: bool,
    positive: (&'a [Span], usize),
    negative: (&'a [Span], usize),
    custom: &'a [f64],
}

fn check_layout(layout: &Layout<'_>) -> Result<(), Invalid> {
    let (positive, buckets) = layout.positive;
    if layout.schema == CUSTOM_BUCKETS {
        check_bounds(layout.custom)?;
        if let Some(first) = positive.first().filter(|span| span.offset < 0) {
            return Err(Invalid::SpanOffset(1, first.offset));
        }
        let reach = check_spans(positive, buckets)?;
        if reach > layout.custom.len() as u64 + 1 {
            return Err(Invalid::BoundsTooFew {
                bounds: layout.custom.len(),
                reach,
            });
        }
        if layout.zero_bucket {
            return Err(Invalid::CustomWithZeroBucket);
        }
        if !layout.negative.0.is_empty() || layout.negative.1 > 0 {
            return Err(Invalid::CustomWithNegativeSide);
        }
        return Ok(());
    }
    if !(SCHEMA_MIN..=SCHEMA_MAX).contains(&layout.schema) {
        return Err(Invalid::Schema(layout.schema));
    }
    check_spans(positive, buckets)?;
    check_spans(layout.negative.0, layout.negative.1)?;
    match layout.custom.is_empty() {
        true => Ok(()),
        false => Err(Invalid::BoundsWithoutCustomBuckets),
    }
}

/// Index after the last bucket, from 0, had the first span begun there or above.
fn check_spans(spans: &[Span], buckets: usize) -> Result<u64, Invalid> {
    let (mut covered, mut index) = (0u64, 0i64);
    for (i, span) in spans.iter().enumerate() {
        if i > 0 && span.offset < 0 {
            return Err(Invalid::SpanOffset(i + 1, span.offset));
        }
        covered += u64::from(span.length);
        index += i64::from(span.offset) + i64::from(span.length);
        if index > i64::from(i32::MAX) {
            return Err(Invalid::SpanReach);
        }
    }
    if covered != buckets as u64 {
        return Err(Invalid::SpanBuckets {
            spans: covered,
            buckets,
        });
    }
    Ok(index.max(0) as u64)
}

fn check_bounds(bounds: &[f64]) -> Result<(), Invalid> {
    if bounds.iter().any(|bound| bound.is_nan()) {
        return Err(Invalid::BoundNan);
    }
    if let Some(pair) = bounds.windows(2).find(|pair| pair[1] <= pair[0]) {
        return Err(Invalid::BoundsNotAscending(pair[0], pair[1]));
    }
    match bounds.last() == Some(&f64::INFINITY) {
        true => Err(Invalid::BoundInfinite),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(spans: &[(i32, u32)], deltas: &[i64]) -> DeltaBuckets {
        let spans = spans
            .iter()
            .map(|&(offset, length)| Span { offset, length });
        DeltaBuckets {
            spans: spans.collect(),
            deltas: deltas.to_vec(),
        }
    }

    fn integer() -> IntegerHistogram {
        IntegerHistogram {
            schema: 1,
            zero_threshold: 0.001,
            zero_count: 2,
            count: 12,
            sum: 18.4,
            positive: side(&[(0, 2), (1, 2)], &[1, 1, -1, 0]),
            negative: side(&[(-3, 2)], &[2, 1]),
            ..IntegerHistogram::default()
        }
    }

    fn custom() -> IntegerHistogram {
        IntegerHistogram {
            schema: CUSTOM_BUCKETS,
            count: 3,
            positive: side(&[(1, 2)], &[1, 1]),
            custom: [0.5, 1.0].into(),
            ..IntegerHistogram::default()
        }
    }

    fn fault(histogram: IntegerHistogram) -> Option<Invalid> {
        Histogram::Integer(histogram).validate().err()
    }

    #[test]
    fn valid_ones_pass() {
        assert_eq!(fault(integer()), None);
        assert_eq!(fault(custom()), None);
        assert_eq!(fault(IntegerHistogram::default()), None);
        let float = Histogram::Integer(integer()).to_float();
        assert_eq!(Histogram::Float(float.clone()).validate(), Ok(()));
        let odd = FloatHistogram {
            count: 0.5,
            ..float
        };
        assert_eq!(odd.validate(), Ok(()));
        let nan = IntegerHistogram {
            sum: f64::NAN,
            count: 13,
            ..integer()
        };
        assert_eq!(fault(nan), None);
    }

    #[test]
    fn every_fault_has_its_own_reason() {
        let with = |change: fn(&mut IntegerHistogram)| {
            let mut histogram = integer();
            change(&mut histogram);
            fault(histogram)
        };
        for schema in [-5, 9, -54, -52, 52, i32::MIN, i32::MAX] {
            let histogram = IntegerHistogram {
                schema,
                ..integer()
            };
            assert_eq!(fault(histogram), Some(Invalid::Schema(schema)));
        }
        assert_eq!(
            with(|h| h.positive.spans[1].offset = -1),
            Some(Invalid::SpanOffset(2, -1))
        );
        assert_eq!(
            with(|h| h.positive.spans[1].offset = i32::MAX),
            Some(Invalid::SpanReach)
        );
        assert_eq!(
            with(|h| h.negative.spans[0].length = 3),
            Some(Invalid::SpanBuckets {
                spans: 3,
                buckets: 2
            })
        );
        assert_eq!(
            with(|h| h.positive.deltas[2] = -3),
            Some(Invalid::NegativeBucket(3))
        );
        assert_eq!(
            with(|h| h.positive.deltas[1] = i64::MAX),
            Some(Invalid::NegativeBucket(2))
        );
        let counts = (11, 12);
        assert_eq!(
            with(|h| h.count = 11),
            Some(Invalid::CountMismatch {
                buckets: counts.1,
                count: counts.0
            })
        );
        assert_eq!(
            with(|h| (h.count, h.sum) = (11, f64::NAN)),
            Some(Invalid::CountNotBigEnough {
                buckets: 12,
                count: 11
            })
        );
        assert_eq!(
            with(|h| h.custom = [1.0].into()),
            Some(Invalid::BoundsWithoutCustomBuckets)
        );
    }

    #[test]
    fn custom_buckets_have_rules_of_their_own() {
        let with = |change: fn(&mut IntegerHistogram)| {
            let mut histogram = custom();
            change(&mut histogram);
            fault(histogram)
        };
        assert_eq!(
            with(|h| h.zero_threshold = 0.1),
            Some(Invalid::CustomWithZeroBucket)
        );
        assert_eq!(
            with(|h| h.negative = side(&[(0, 1)], &[0])),
            Some(Invalid::CustomWithNegativeSide)
        );
        assert_eq!(
            with(|h| h.custom = [1.0, 1.0].into()),
            Some(Invalid::BoundsNotAscending(1.0, 1.0))
        );
        assert_eq!(
            with(|h| h.custom = [f64::NAN].into()),
            Some(Invalid::BoundNan)
        );
        assert_eq!(
            with(|h| h.custom = [1.0, f64::INFINITY].into()),
            Some(Invalid::BoundInfinite)
        );
        assert_eq!(
            with(|h| h.custom = [1.0].into()),
            Some(Invalid::BoundsTooFew {
                bounds: 1,
                reach: 3
            })
        );
        assert_eq!(
            with(|h| h.positive.spans[0].offset = -1),
            Some(Invalid::SpanOffset(1, -1))
        );
    }

    #[test]
    fn floats_may_not_be_negative() {
        let good = Histogram::Integer(integer()).to_float();
        let with = |change: fn(&mut FloatHistogram)| {
            let mut histogram = good.clone();
            change(&mut histogram);
            histogram.validate().err()
        };
        assert_eq!(with(|h| h.count = -1.0), Some(Invalid::NegativeCount));
        assert_eq!(with(|h| h.zero_count = -1.0), Some(Invalid::NegativeCount));
        assert_eq!(
            with(|h| h.negative.counts[1] = -1.0),
            Some(Invalid::NegativeBucket(2))
        );
        assert_eq!(with(|h| h.sum = -1.0), None);
    }
}
