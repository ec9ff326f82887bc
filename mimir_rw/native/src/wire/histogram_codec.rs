//! A histogram between processes.
//!
//! ```text
//! flags u8: bits 0-1 reset hint, 2 float, 3 zero bucket, 4 negative side, 5 custom bounds
//! varint schema, sum f64 LE, count
//! zero threshold f64 LE, zero count                   with a zero bucket
//! positive side; negative side                        where there is one
//! uvarint number of custom bounds, each f64 LE        with custom bounds
//! a side: uvarint spans, each varint offset and uvarint length; then the buckets, as many as the spans say
//! ```
//!
//! Counts are uvarint, buckets varint differences; of a float histogram all are f64 LE. What is decoded is valid.
//!
//! Bounds: counts are checked against the bytes that are left; what is allocated is at most twelve times the input.

use std::sync::Arc;

use super::proto::Malformed;
use crate::codec::varint::{Cursor, put_uvarint, put_varint};
use crate::histogram::stored::DeltaBuckets;
use crate::histogram::{Buckets, FloatHistogram, Histogram, IntegerHistogram, ResetHint, Span};

const FLOAT: u8 = 1 << 2;
const ZERO_BUCKET: u8 = 1 << 3;
const NEGATIVE: u8 = 1 << 4;
const CUSTOM: u8 = 1 << 5;
/// Fewest bytes of a histogram: flags, schema, sum, count, no spans.
pub const HISTOGRAM_BYTES_MIN: usize = 12;

pub fn put(out: &mut Vec<u8>, histogram: &Histogram) {
    match histogram {
        Histogram::Integer(h) => put_integer(out, h),
        Histogram::Float(h) => put_float(out, h),
    }
}

fn put_integer(out: &mut Vec<u8>, h: &IntegerHistogram) {
    let zero = h.zero_count != 0 || h.zero_threshold.to_bits() != 0;
    let negative = !h.negative.spans.is_empty();
    out.push(flags(h.hint, zero, negative, &h.custom));
    put_varint(out, i64::from(h.schema));
    put_f64(out, h.sum);
    put_uvarint(out, h.count);
    if zero {
        put_f64(out, h.zero_threshold);
        put_uvarint(out, h.zero_count);
    }
    for side in [Some(&h.positive), negative.then_some(&h.negative)]
        .into_iter()
        .flatten()
    {
        put_spans(out, &side.spans);
        side.deltas.iter().for_each(|&delta| put_varint(out, delta));
    }
    put_custom(out, &h.custom);
}

fn put_float(out: &mut Vec<u8>, h: &FloatHistogram) {
    let zero = h.zero_count.to_bits() != 0 || h.zero_threshold.to_bits() != 0;
    let negative = !h.negative.spans.is_empty();
    out.push(flags(h.hint, zero, negative, &h.custom) | FLOAT);
    put_varint(out, i64::from(h.schema));
    put_f64(out, h.sum);
    put_f64(out, h.count);
    if zero {
        put_f64(out, h.zero_threshold);
        put_f64(out, h.zero_count);
    }
    for side in [Some(&h.positive), negative.then_some(&h.negative)]
        .into_iter()
        .flatten()
    {
        put_spans(out, &side.spans);
        side.counts.iter().for_each(|&count| put_f64(out, count));
    }
    put_custom(out, &h.custom);
}

fn flags(hint: ResetHint, zero: bool, negative: bool, custom: &[f64]) -> u8 {
    let bit = |flag: u8, is: bool| if is { flag } else { 0 };
    hint as u8 | bit(ZERO_BUCKET, zero) | bit(NEGATIVE, negative) | bit(CUSTOM, !custom.is_empty())
}

fn put_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_uvarint(out, spans.len() as u64);
    for span in spans {
        put_varint(out, i64::from(span.offset));
        put_uvarint(out, u64::from(span.length));
    }
}

fn put_custom(out: &mut Vec<u8>, custom: &[f64]) {
    if !custom.is_empty() {
        put_uvarint(out, custom.len() as u64);
        custom.iter().for_each(|&bound| put_f64(out, bound));
    }
}

/// Reads histograms that follow each other; bounds that repeat are held once.
#[derive(Default)]
pub struct HistogramReader {
    custom: Arc<[f64]>,
}

impl HistogramReader {
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<Histogram, Malformed> {
        let flags = cursor.u8()?;
        let hint = ResetHint::from_number(u64::from(flags & 3)).unwrap_or_default();
        if flags >> 6 != 0 {
            return Err(Malformed("unknown flags of a histogram"));
        }
        let histogram = match flags & FLOAT {
            0 => Histogram::Integer(self.integer(cursor, flags, hint)?),
            _ => Histogram::Float(self.float(cursor, flags, hint)?),
        };
        match histogram.validate() {
            Ok(()) => Ok(histogram),
            Err(_) => Err(Malformed("a histogram is not valid")),
        }
    }

    fn integer(
        &mut self,
        cursor: &mut Cursor<'_>,
        flags: u8,
        hint: ResetHint,
    ) -> Result<IntegerHistogram, Malformed> {
        let mut h = IntegerHistogram {
            hint,
            schema: schema(cursor)?,
            sum: f64_le(cursor)?,
            count: cursor.uvarint()?,
            ..IntegerHistogram::default()
        };
        if flags & ZERO_BUCKET != 0 {
            h.zero_threshold = f64_le(cursor)?;
            h.zero_count = cursor.uvarint()?;
        }
        h.positive = deltas(cursor)?;
        if flags & NEGATIVE != 0 {
            h.negative = deltas(cursor)?;
        }
        h.custom = self.custom(cursor, flags)?;
        Ok(h)
    }

    fn float(
        &mut self,
        cursor: &mut Cursor<'_>,
        flags: u8,
        hint: ResetHint,
    ) -> Result<FloatHistogram, Malformed> {
        let mut h = FloatHistogram {
            hint,
            schema: schema(cursor)?,
            sum: f64_le(cursor)?,
            count: f64_le(cursor)?,
            ..FloatHistogram::default()
        };
        if flags & ZERO_BUCKET != 0 {
            h.zero_threshold = f64_le(cursor)?;
            h.zero_count = f64_le(cursor)?;
        }
        h.positive = counts(cursor)?;
        if flags & NEGATIVE != 0 {
            h.negative = counts(cursor)?;
        }
        h.custom = self.custom(cursor, flags)?;
        Ok(h)
    }

    fn custom(&mut self, cursor: &mut Cursor<'_>, flags: u8) -> Result<Arc<[f64]>, Malformed> {
        if flags & CUSTOM == 0 {
            return Ok(Arc::default());
        }
        let count = cursor.uvarint()?;
        let bounds = floats(cursor, count)?;
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        if bounds.len() != self.custom.len() || !bounds.iter().zip(&*self.custom).all(same) {
            self.custom = bounds.into();
        }
        Ok(self.custom.clone())
    }
}

fn schema(cursor: &mut Cursor<'_>) -> Result<i32, Malformed> {
    i32::try_from(cursor.varint()?).map_err(|_| Malformed("a schema is out of range"))
}

fn f64_le(cursor: &mut Cursor<'_>) -> Result<f64, Malformed> {
    Ok(f64::from_bits(cursor.be64()?.swap_bytes()))
}

fn floats(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<f64>, Malformed> {
    let bytes = usize::try_from(count).ok().and_then(|n| n.checked_mul(8));
    let bytes = cursor.bytes(bytes.unwrap_or(usize::MAX))?;
    let floats = bytes.as_chunks::<8>().0.iter();
    Ok(floats.map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

/// Spans and the number of their buckets.
fn spans(cursor: &mut Cursor<'_>) -> Result<(Vec<Span>, u64), Malformed> {
    let count = cursor.uvarint()?;
    if count > cursor.remaining() as u64 / 2 {
        return Err(Malformed("a histogram has more spans than bytes"));
    }
    let mut spans = Vec::with_capacity(count as usize);
    let mut buckets = 0u64;
    for _ in 0..count {
        let offset = i32::try_from(cursor.varint()?);
        let length = u32::try_from(cursor.uvarint()?);
        let (Ok(offset), Ok(length)) = (offset, length) else {
            return Err(Malformed("a span is out of range"));
        };
        buckets += u64::from(length);
        spans.push(Span { offset, length });
    }
    Ok((spans, buckets))
}

fn deltas(cursor: &mut Cursor<'_>) -> Result<DeltaBuckets, Malformed> {
    let (spans, buckets) = spans(cursor)?;
    if buckets > cursor.remaining() as u64 {
        return Err(Malformed("a histogram has more buckets than bytes"));
    }
    let mut deltas = Vec::with_capacity(buckets as usize);
    for _ in 0..buckets {
        deltas.push(cursor.varint()?);
    }
    Ok(DeltaBuckets { spans, deltas })
}

fn counts(cursor: &mut Cursor<'_>) -> Result<Buckets, Malformed> {
    let (spans, buckets) = spans(cursor)?;
    Ok(Buckets {
        spans,
        counts: floats(cursor, buckets)?,
    })
}
