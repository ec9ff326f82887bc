//! Native histograms: what the engine computes with, and what is sent and stored.
//!
//! Bucket bounds, flavours and validity are those of Prometheus (promql-notes.md 13, remote-write.md 4). The engine
//! knows only `FloatHistogram`; integers are converted where chunks are decoded.

pub mod aggregation;
pub mod arithmetic;
pub mod bounds;
pub mod column;
pub mod column_codec;
pub mod compensated;
pub mod custom;
mod format;
pub mod layout;
mod mantissas;
pub mod moments;
pub mod operators;
pub mod quantile;
pub mod reset;
pub mod statistics;
pub mod stored;
pub mod trim;
pub mod validate;
pub mod walk;
pub mod zero;

use std::sync::Arc;

use pyo3::prelude::*;

pub use column::HistogramColumn;
pub use stored::{Histogram, IntegerHistogram};

use crate::windows::STALE_NAN_BITS;

/// Schema of histograms with custom buckets.
pub const CUSTOM_BUCKETS: i32 = -53;

/// Buckets that follow each other; `offset` is the gap to the span before, or for the first the index of its bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// What is known about the histogram before. The numbers are those of remote write and of chunk headers in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetHint {
    #[default]
    Unknown = 0,
    Reset = 1,
    NotReset = 2,
    Gauge = 3,
}

impl ResetHint {
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Unknown, Self::Reset, Self::NotReset, Self::Gauge]
            .into_iter()
            .find(|&hint| hint as u64 == number)
    }
}

/// One side of a histogram: the spans' lengths add up to the number of counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    pub spans: Vec<Span>,
    /// Absolute, not cumulative.
    pub counts: Vec<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    pub hint: ResetHint,
    /// -4..=8, or CUSTOM_BUCKETS.
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive: Buckets,
    pub negative: Buckets,
    /// Upper bounds of custom buckets but for the last, which is +Inf.
    pub custom: Arc<[f64]>,
}

impl FloatHistogram {
    pub fn is_stale(&self) -> bool {
        self.sum.to_bits() == STALE_NAN_BITS
    }

    /// Bytes that one takes, as Prometheus counts them: the record, and 8 for each span, bucket and custom bound.
    pub fn byte_size(&self) -> usize {
        let side = |side: &Buckets| side.spans.len() + side.counts.len();
        168 + 8 * (side(&self.positive) + side(&self.negative) + self.custom.len())
    }

    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<HistogramColumn>()?;
    m.add_function(wrap_pyfunction!(statistics::histogram_statistics, m)?)?;
    m.add_function(wrap_pyfunction!(operators::histogram_moment, m)?)?;
    m.add_function(wrap_pyfunction!(operators::native_quantile, m)?)?;
    m.add_function(wrap_pyfunction!(operators::native_fraction, m)?)?;
    m.add_function(wrap_pyfunction!(operators::histogram_change, m)?)?;
    m.add_function(wrap_pyfunction!(operators::histogram_add, m)?)?;
    m.add_function(wrap_pyfunction!(operators::histogram_equal, m)?)?;
    m.add_class::<aggregation::HistogramAccumulator>()?;
    m.add_function(wrap_pyfunction!(aggregation::aggregate_histograms, m)?)?;
    m.add_function(wrap_pyfunction!(operators::histogram_texts, m)?)
}
