//! The layout in front of a histogram chunk's samples (tsdb-block.md section 9.1).

use std::sync::Arc;

use super::spans::{are_sound, bucket_count};
use crate::codec::Damaged;
use crate::codec::bits::{BitReader, BitSink};
use crate::codec::varbit;
use crate::histogram::{CUSTOM_BUCKETS, Span};

/// What all samples of a chunk share.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub schema: i32,
    pub zero_threshold: f64,
    pub positive: Vec<Span>,
    pub negative: Vec<Span>,
    pub custom: Arc<[f64]>,
}

impl Default for Layout {
    fn default() -> Self {
        Layout {
            schema: 0,
            zero_threshold: 0.0,
            positive: Vec::new(),
            negative: Vec::new(),
            custom: Arc::new([]),
        }
    }
}

/// Least bits of a span, and of a custom bound.
const SPAN_BITS_MIN: u64 = 2;
const BOUND_BITS_MIN: u64 = 5;
/// Custom bounds that are multiples of 0.001 up to this many are stored as integers.
const BOUND_THOUSANDTHS_MAX: f64 = 33_554_430.0;

impl Layout {
    pub fn positive_count(&self) -> usize {
        bucket_count(&self.positive) as usize
    }

    pub fn bucket_count(&self) -> u64 {
        bucket_count(&self.positive) + bucket_count(&self.negative)
    }

    /// Spans, buckets and bounds: what memory a sample takes goes by.
    pub fn parts(&self) -> u64 {
        let spans = self.positive.len() + self.negative.len();
        self.bucket_count() + (spans + self.custom.len()) as u64
    }

    pub fn put(&self, sink: &mut impl BitSink) {
        put_zero_threshold(sink, self.zero_threshold);
        varbit::put_int(sink, i64::from(self.schema));
        put_spans(sink, &self.positive);
        put_spans(sink, &self.negative);
        if self.schema == CUSTOM_BUCKETS {
            varbit::put_uint(sink, self.custom.len() as u64);
            self.custom.iter().for_each(|&bound| put_bound(sink, bound));
        }
    }

    /// Damaged: the layout says that it is more than the bits can be. `bucket_bits_min`: of a bucket of the first sample.
    pub fn read(bits: &mut BitReader<'_>, bucket_bits_min: u64) -> Result<Self, Damaged> {
        let zero_threshold = zero_threshold(bits);
        let schema = i32::try_from(varbit::int(bits)).unwrap_or(i32::MAX);
        if schema != CUSTOM_BUCKETS && !(-9..=52).contains(&schema) {
            return Err(Damaged("histogram chunk: unknown schema"));
        }
        let positive = spans(bits)?;
        let negative = spans(bits)?;
        let custom = match schema {
            CUSTOM_BUCKETS => bounds(bits)?,
            _ => Arc::new([]),
        };
        let layout = Layout {
            schema,
            zero_threshold,
            positive,
            negative,
            custom,
        };
        if layout.bucket_count().saturating_mul(bucket_bits_min) > bits.remaining() {
            return Err(Damaged(
                "histogram chunk: more buckets than it has room for",
            ));
        }
        Ok(layout)
    }
}

fn put_spans(sink: &mut impl BitSink, spans: &[Span]) {
    varbit::put_uint(sink, spans.len() as u64);
    for span in spans {
        varbit::put_uint(sink, u64::from(span.length));
        varbit::put_int(sink, i64::from(span.offset));
    }
}

fn count(bits: &mut BitReader<'_>, bits_min: u64) -> Result<usize, Damaged> {
    let count = varbit::uint(bits);
    match count.saturating_mul(bits_min) <= bits.remaining() {
        true => Ok(count as usize),
        false => Err(Damaged("histogram chunk: its layout ends early")),
    }
}

fn spans(bits: &mut BitReader<'_>) -> Result<Vec<Span>, Damaged> {
    let count = count(bits, SPAN_BITS_MIN)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, offset) = (varbit::uint(bits), varbit::int(bits));
        let wide = |_| Damaged("histogram chunk: a span is wider than 32 bits");
        spans.push(Span {
            offset: i32::try_from(offset).map_err(wide)?,
            length: u32::try_from(length).map_err(wide)?,
        });
    }
    match are_sound(&spans) {
        true => Ok(spans),
        false => Err(Damaged("histogram chunk: its buckets do not ascend")),
    }
}

fn bounds(bits: &mut BitReader<'_>) -> Result<Arc<[f64]>, Damaged> {
    let count = count(bits, BOUND_BITS_MIN)?;
    let bound = |_| match varbit::uint(bits) {
        0 => f64::from_bits(bits.take(64)),
        stored => (stored - 1) as f64 / 1000.0,
    };
    Ok((0..count).map(bound).collect())
}

fn put_bound(sink: &mut impl BitSink, bound: f64) {
    let thousandths = bound * 1000.0;
    let whole = thousandths.round();
    if (0.0..=BOUND_THOUSANDTHS_MAX).contains(&thousandths) && whole / 1000.0 == bound {
        return varbit::put_uint(sink, whole as u64 + 1);
    }
    sink.put(0, 1);
    sink.put(bound.to_bits(), 64);
}

const EXPONENT_ONE: u64 = 1023;

/// Powers of two from 2^-243 to 2^10 take a byte: their exponent and 244.
fn put_zero_threshold(sink: &mut impl BitSink, threshold: f64) {
    if threshold == 0.0 {
        return sink.put(0, 8);
    }
    let (exponent, fraction) = (threshold.to_bits() >> 52, threshold.to_bits() << 12);
    let byte = (exponent + 244).wrapping_sub(EXPONENT_ONE);
    if fraction == 0 && (1..=254).contains(&byte) {
        return sink.put(byte << 56, 8);
    }
    sink.put(0xff << 56, 8);
    sink.put(threshold.to_bits(), 64);
}

fn zero_threshold(bits: &mut BitReader<'_>) -> f64 {
    match bits.take(8) {
        0 => 0.0,
        0xff => f64::from_bits(bits.take(64)),
        byte => f64::from_bits((byte + EXPONENT_ONE - 244) << 52),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bits::BitVec;

    #[test]
    fn thresholds_and_bounds_come_back() {
        let mut sink = BitVec::default();
        let thresholds = [
            0.0,
            2f64.powi(-128),
            2f64.powi(-243),
            2f64.powi(-244),
            1024.0,
            2048.0,
            0.1,
            -1.0,
        ];
        let bounds = [
            0.5,
            1.0,
            0.0,
            33_554.43,
            33_554.431,
            -1.0,
            0.0005,
            1e9,
            f64::INFINITY,
        ];
        thresholds
            .iter()
            .for_each(|&t| put_zero_threshold(&mut sink, t));
        varbit::put_uint(&mut sink, bounds.len() as u64);
        bounds.iter().for_each(|&b| put_bound(&mut sink, b));
        let mut bits = BitReader::new(&sink.bytes);
        for threshold in thresholds {
            assert_eq!(zero_threshold(&mut bits), threshold);
        }
        assert_eq!(*super::bounds(&mut bits).unwrap(), bounds);
        assert_eq!(sink.bytes[..3], [0, 0x74, 1]);
    }
}
