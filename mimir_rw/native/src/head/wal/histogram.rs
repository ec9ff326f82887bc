//! Histograms in log records (wal.md sections 5.7 and 5.9).

use std::sync::Arc;

use super::record::RecordSink;
use crate::codec::Damaged;
use crate::codec::histogram::is_sound;
use crate::codec::histogram::reduce;
use crate::codec::varint::{Cursor, put_uvarint, put_varint};
use crate::histogram::stored::DeltaBuckets;
use crate::histogram::{
    Buckets, CUSTOM_BUCKETS, FloatHistogram, Histogram, IntegerHistogram, ResetHint, Span,
};

/// Coarsest resolution that has a meaning; what is pushed begins at -4.
const SCHEMA_MIN: i32 = -9;

/// Which record a histogram goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramKind {
    Integer,
    CustomInteger,
    Float,
    CustomFloat,
}

impl HistogramKind {
    /// In the order of their records.
    pub const ALL: [Self; 4] = [
        Self::Integer,
        Self::CustomInteger,
        Self::Float,
        Self::CustomFloat,
    ];

    pub fn of(histogram: &Histogram) -> Self {
        match histogram {
            Histogram::Integer(h) if h.schema == CUSTOM_BUCKETS => Self::CustomInteger,
            Histogram::Integer(_) => Self::Integer,
            Histogram::Float(h) if h.schema == CUSTOM_BUCKETS => Self::CustomFloat,
            Histogram::Float(_) => Self::Float,
        }
    }

    fn record(self) -> u8 {
        match self {
            Self::Integer => 7,
            Self::Float => 8,
            Self::CustomInteger => 9,
            Self::CustomFloat => 10,
        }
    }

    /// Whether a histogram may be the base of this kind's record: exponential histograms are counted from the first
    /// one of all, custom ones from their own first.
    pub fn shares_base(self, histogram: &Histogram) -> bool {
        let kind = Self::of(histogram);
        match self {
            Self::Integer => matches!(kind, Self::Integer | Self::CustomInteger),
            Self::Float => matches!(kind, Self::Float | Self::CustomFloat),
            custom => kind == custom,
        }
    }
}

/// Append a record of (reference, time, histogram), all of one kind. `base`: reference and time that differences are to.
pub fn put_histograms<'a>(
    out: &mut Vec<u8>,
    kind: HistogramKind,
    base: Option<(u64, i64)>,
    histograms: impl Iterator<Item = (u64, i64, &'a Histogram)>,
) {
    out.push(kind.record());
    let Some((base_ref, base_t)) = base else {
        return;
    };
    out.extend_from_slice(&base_ref.to_be_bytes());
    out.extend_from_slice(&base_t.to_be_bytes());
    for (reference, t, histogram) in histograms {
        put_varint(out, reference.wrapping_sub(base_ref) as i64);
        put_varint(out, t.wrapping_sub(base_t));
        match histogram {
            Histogram::Integer(histogram) => put_integer(out, histogram),
            Histogram::Float(histogram) => put_float(out, histogram),
        }
    }
}

fn put_f64(out: &mut Vec<u8>, v: f64) {
    out.extend_from_slice(&v.to_bits().to_be_bytes());
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_uvarint(out, spans.len() as u64);
    for span in spans {
        put_varint(out, i64::from(span.offset));
        put_uvarint(out, u64::from(span.length));
    }
}

fn put_bounds(out: &mut Vec<u8>, schema: i32, bounds: &[f64]) {
    if schema == CUSTOM_BUCKETS {
        put_uvarint(out, bounds.len() as u64);
        bounds.iter().for_each(|&bound| put_f64(out, bound));
    }
}

fn put_integer(out: &mut Vec<u8>, h: &IntegerHistogram) {
    out.push(h.hint as u8);
    put_varint(out, i64::from(h.schema));
    put_f64(out, h.zero_threshold);
    put_uvarint(out, h.zero_count);
    put_uvarint(out, h.count);
    put_f64(out, h.sum);
    put_spans(out, &h.positive.spans);
    put_spans(out, &h.negative.spans);
    for side in [&h.positive, &h.negative] {
        put_uvarint(out, side.deltas.len() as u64);
        side.deltas.iter().for_each(|&delta| put_varint(out, delta));
    }
    put_bounds(out, h.schema, &h.custom);
}

fn put_float(out: &mut Vec<u8>, h: &FloatHistogram) {
    out.push(h.hint as u8);
    put_varint(out, i64::from(h.schema));
    put_f64(out, h.zero_threshold);
    put_f64(out, h.zero_count);
    put_f64(out, h.count);
    put_f64(out, h.sum);
    put_spans(out, &h.positive.spans);
    put_spans(out, &h.negative.spans);
    for side in [&h.positive, &h.negative] {
        put_uvarint(out, side.counts.len() as u64);
        side.counts.iter().for_each(|&count| put_f64(out, count));
    }
    put_bounds(out, h.schema, &h.custom);
}

/// A record of histograms, as it may be in a log.
#[derive(Clone, Copy, Debug)]
pub struct RecordKind {
    float: bool,
    /// With start timestamps, which are read and dropped.
    second_version: bool,
    record: u8,
}

impl RecordKind {
    pub fn of(record: u8) -> Option<Self> {
        let (float, second_version) = match record {
            7 | 9 => (false, false),
            8 | 10 => (true, false),
            12 => (false, true),
            13 => (true, true),
            _ => return None,
        };
        Some(RecordKind {
            float,
            second_version,
            record,
        })
    }
}

/// Decode the body of a record. Histograms of schemas that nobody knows are told as unknown and left out.
pub fn decode(
    kind: RecordKind,
    body: Cursor<'_>,
    sink: &mut impl RecordSink,
) -> Result<(), Damaged> {
    match kind.second_version {
        false => decode_first(kind, body, sink),
        true => decode_second(kind, body, sink),
    }
}

fn decode_first(
    kind: RecordKind,
    mut body: Cursor<'_>,
    sink: &mut impl RecordSink,
) -> Result<(), Damaged> {
    if body.is_empty() {
        return Ok(());
    }
    let base_ref = body.be64()?;
    let base_t = body.be64()? as i64;
    while !body.is_empty() {
        let reference = base_ref.wrapping_add(body.varint()? as u64);
        let t = base_t.wrapping_add(body.varint()?);
        deliver(kind, reference, t, &mut body, sink)?;
    }
    Ok(())
}

fn decode_second(
    kind: RecordKind,
    mut body: Cursor<'_>,
    sink: &mut impl RecordSink,
) -> Result<(), Damaged> {
    if body.is_empty() {
        return Ok(());
    }
    let mut reference = body.varint()? as u64;
    let base_t = body.varint()?;
    body.varint()?;
    deliver(kind, reference, base_t, &mut body, sink)?;
    while !body.is_empty() {
        reference = reference.wrapping_add(body.varint()? as u64);
        let t = base_t.wrapping_add(body.varint()?);
        if body.u8()? >= 2 {
            body.varint()?;
        }
        deliver(kind, reference, t, &mut body, sink)?;
    }
    Ok(())
}

fn deliver(
    kind: RecordKind,
    reference: u64,
    t: i64,
    body: &mut Cursor<'_>,
    sink: &mut impl RecordSink,
) -> Result<(), Damaged> {
    let histogram = match kind.float {
        false => Histogram::Integer(integer(body)?),
        true => Histogram::Float(float(body)?),
    };
    if !is_sound(&histogram) {
        return Err(Damaged("a histogram's buckets are not those of its spans"));
    }
    match reduced(histogram) {
        Some(histogram) => sink.histogram(reference, t, histogram),
        None => sink.unknown(kind.record),
    }
    Ok(())
}

/// A histogram that can be stored; None: of a schema that nobody knows.
fn reduced(histogram: Histogram) -> Option<Histogram> {
    let schema = match &histogram {
        Histogram::Integer(h) => h.schema,
        Histogram::Float(h) => h.schema,
    };
    match schema {
        CUSTOM_BUCKETS | SCHEMA_MIN..=reduce::SCHEMA_MAX => Some(histogram),
        9..=52 => Some(match histogram {
            Histogram::Integer(h) => Histogram::Integer(reduce::integer_to_known(h)),
            Histogram::Float(h) => Histogram::Float(reduce::to_known(h)),
        }),
        _ => None,
    }
}

fn f64_of(body: &mut Cursor<'_>) -> Result<f64, Damaged> {
    Ok(f64::from_bits(body.be64()?))
}

fn hint(body: &mut Cursor<'_>) -> Result<ResetHint, Damaged> {
    ResetHint::from_number(u64::from(body.u8()?)).ok_or(Damaged("a histogram's hint is unknown"))
}

fn schema(body: &mut Cursor<'_>) -> Result<i32, Damaged> {
    i32::try_from(body.varint()?).map_err(|_| Damaged("a histogram's schema is too wide"))
}

/// A number of items, each of so many bytes at least.
fn count(body: &mut Cursor<'_>, bytes_min: usize) -> Result<usize, Damaged> {
    let count = usize::try_from(body.uvarint()?).unwrap_or(usize::MAX);
    match count.saturating_mul(bytes_min) <= body.remaining() {
        true => Ok(count),
        false => Err(Damaged("a histogram ends early")),
    }
}

fn spans(body: &mut Cursor<'_>) -> Result<Vec<Span>, Damaged> {
    let wide = |_| Damaged("a span is wider than 32 bits");
    let count = count(body, 2)?;
    let span = |_| {
        Ok(Span {
            offset: i32::try_from(body.varint()?).map_err(wide)?,
            length: u32::try_from(body.uvarint()?).map_err(wide)?,
        })
    };
    (0..count).map(span).collect()
}

fn bounds(body: &mut Cursor<'_>, schema: i32) -> Result<Arc<[f64]>, Damaged> {
    if schema != CUSTOM_BUCKETS {
        return Ok(Arc::new([]));
    }
    (0..count(body, 8)?).map(|_| f64_of(body)).collect()
}

fn integer(body: &mut Cursor<'_>) -> Result<IntegerHistogram, Damaged> {
    let hint = hint(body)?;
    let schema = schema(body)?;
    let zero_threshold = f64_of(body)?;
    let (zero_count, count_all, sum) = (body.uvarint()?, body.uvarint()?, f64_of(body)?);
    let spans = (spans(body)?, spans(body)?);
    let mut deltas =
        || -> Result<Vec<i64>, Damaged> { (0..count(body, 1)?).map(|_| body.varint()).collect() };
    let deltas = (deltas()?, deltas()?);
    let side = |spans, deltas| DeltaBuckets { spans, deltas };
    Ok(IntegerHistogram {
        hint,
        schema,
        zero_threshold,
        zero_count,
        count: count_all,
        sum,
        positive: side(spans.0, deltas.0),
        negative: side(spans.1, deltas.1),
        custom: bounds(body, schema)?,
    })
}

fn float(body: &mut Cursor<'_>) -> Result<FloatHistogram, Damaged> {
    let hint = hint(body)?;
    let schema = schema(body)?;
    let zero_threshold = f64_of(body)?;
    let (zero_count, count_all, sum) = (f64_of(body)?, f64_of(body)?, f64_of(body)?);
    let spans = (spans(body)?, spans(body)?);
    let mut counts =
        || -> Result<Vec<f64>, Damaged> { (0..count(body, 8)?).map(|_| f64_of(body)).collect() };
    let counts = (counts()?, counts()?);
    let side = |spans, counts| Buckets { spans, counts };
    Ok(FloatHistogram {
        hint,
        schema,
        zero_threshold,
        zero_count,
        count: count_all,
        sum,
        positive: side(spans.0, counts.0),
        negative: side(spans.1, counts.1),
        custom: bounds(body, schema)?,
    })
}
