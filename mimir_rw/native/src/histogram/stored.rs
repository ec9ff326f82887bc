//! Histograms as they are sent, logged and stored: integer or float.

use std::sync::Arc;

use super::{Buckets, FloatHistogram, ResetHint, Span};
use crate::windows::STALE_NAN_BITS;

/// Counts of one side as differences, each to the bucket before (the first to 0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaBuckets {
    pub spans: Vec<Span>,
    pub deltas: Vec<i64>,
}

impl DeltaBuckets {
    fn to_float(&self) -> Buckets {
        let mut count = 0i64;
        let counts = self.deltas.iter().map(|&delta| {
            count = count.wrapping_add(delta);
            count as f64
        });
        Buckets {
            counts: counts.collect(),
            spans: self.spans.clone(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntegerHistogram {
    pub hint: ResetHint,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: u64,
    pub count: u64,
    pub sum: f64,
    pub positive: DeltaBuckets,
    pub negative: DeltaBuckets,
    pub custom: Arc<[f64]>,
}

impl IntegerHistogram {
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive: self.positive.to_float(),
            negative: self.negative.to_float(),
            custom: self.custom.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Histogram {
    Integer(IntegerHistogram),
    Float(FloatHistogram),
}

impl Histogram {
    pub fn sum(&self) -> f64 {
        match self {
            Self::Integer(histogram) => histogram.sum,
            Self::Float(histogram) => histogram.sum,
        }
    }

    /// Bytes held, an estimate.
    pub fn byte_size(&self) -> usize {
        let (positive, negative, custom) = match self {
            Self::Integer(h) => (
                (h.positive.spans.len(), h.positive.deltas.len()),
                (h.negative.spans.len(), h.negative.deltas.len()),
                h.custom.len(),
            ),
            Self::Float(h) => (
                (h.positive.spans.len(), h.positive.counts.len()),
                (h.negative.spans.len(), h.negative.counts.len()),
                h.custom.len(),
            ),
        };
        let values = positive.0 + positive.1 + negative.0 + negative.1 + custom;
        size_of::<Self>() + 2 * size_of::<usize>() + values * 8
    }

    pub fn is_stale(&self) -> bool {
        self.sum().to_bits() == STALE_NAN_BITS
    }

    pub fn to_float(&self) -> FloatHistogram {
        match self {
            Self::Integer(histogram) => histogram.to_float(),
            Self::Float(histogram) => histogram.clone(),
        }
    }
}
