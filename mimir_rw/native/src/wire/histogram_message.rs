//! Native histograms as remote write sends them (remote-write.md 4), and which of them are taken.

use std::sync::Arc;

use super::columns::varints;
use super::proto::{Reader, Result, Wire};
use super::remote_write::PushLimits;
use super::validate::adjust;
use crate::codec::varint::unzigzag;
use crate::histogram::layout::{SpanBuilder, indices, reduced};
use crate::histogram::stored::DeltaBuckets;
use crate::histogram::validate::{Invalid, SCHEMA_MAX, SCHEMA_MIN};
use crate::histogram::{
    Buckets, CUSTOM_BUCKETS, FloatHistogram, Histogram, IntegerHistogram, ResetHint, Span,
};

/// Finest schema that may be sent; what is finer than `SCHEMA_MAX` is reduced to that.
const SCHEMA_SENT_MAX: i32 = 52;

pub struct SentHistogram {
    pub ts: i64,
    pub start_ts: i64,
    pub histogram: Histogram,
}

/// Why a histogram is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum HistogramFault {
    Invalid(Invalid),
    TooManyBuckets {
        buckets: usize,
        max: usize,
    },
    /// They would not be few enough at the coarsest schema.
    NotReducible {
        buckets: usize,
        max: usize,
    },
    CustomNotReducible {
        buckets: usize,
        max: usize,
    },
}

impl HistogramFault {
    pub fn id(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.id(),
            Self::TooManyBuckets { .. } => "max-native-histogram-buckets",
            Self::NotReducible { .. } => "not-reducible-native-histogram",
            Self::CustomNotReducible { .. } => "native-histogram-custom-buckets-not-reducible",
        }
    }

    /// What is wrong with it: completes "the native histogram of series … ".
    pub fn text(&self) -> String {
        let (buckets, max, why) = match self {
            Self::Invalid(invalid) => return invalid.to_string(),
            Self::TooManyBuckets { buckets, max } => (buckets, max, ""),
            Self::NotReducible { buckets, max } => {
                (buckets, max, ", also at the coarsest resolution")
            }
            Self::CustomNotReducible { buckets, max } => {
                (buckets, max, ", and custom buckets cannot be made fewer")
            }
        };
        format!(
            "has {buckets} buckets and the limit is {max}{why}; {}",
            adjust("validation.max-native-histogram-buckets")
        )
    }
}

/// The message `buf[start..end]`, whatever it holds.
pub fn read(buf: &[u8], start: usize, end: usize) -> Result<SentHistogram> {
    let mut reader = Reader::within(buf, start, end);
    let mut raw = Raw::default();
    while let Some((number, wire)) = reader.field()? {
        raw.field(&mut reader, number, wire)?;
    }
    Ok(SentHistogram {
        ts: raw.ts,
        start_ts: raw.start_ts,
        histogram: raw.histogram(),
    })
}

#[derive(Default)]
struct Raw {
    is_float: bool,
    count: u64,
    float_count: f64,
    zero_count: u64,
    float_zero_count: f64,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    positive: Side,
    negative: Side,
    hint: u64,
    ts: i64,
    start_ts: i64,
    custom: Vec<f64>,
}

#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Raw {
    fn field(&mut self, reader: &mut Reader<'_>, number: u32, wire: Wire) -> Result<()> {
        match (number, wire) {
            (1, Wire::Varint) => (self.count, self.is_float) = (reader.varint()?, false),
            (2, Wire::Fixed64) => (self.float_count, self.is_float) = (reader.double()?, true),
            (3, Wire::Fixed64) => self.sum = reader.double()?,
            (4, Wire::Varint) => self.schema = sint32(reader.varint()?),
            (5, Wire::Fixed64) => self.zero_threshold = reader.double()?,
            (6, Wire::Varint) => self.zero_count = reader.varint()?,
            (7, Wire::Fixed64) => self.float_zero_count = reader.double()?,
            (8, Wire::Bytes) => self.negative.spans.push(span(reader)?),
            (9, Wire::Varint | Wire::Bytes) => deltas(reader, wire, &mut self.negative.deltas)?,
            (10, Wire::Fixed64 | Wire::Bytes) => doubles(reader, wire, &mut self.negative.counts)?,
            (11, Wire::Bytes) => self.positive.spans.push(span(reader)?),
            (12, Wire::Varint | Wire::Bytes) => deltas(reader, wire, &mut self.positive.deltas)?,
            (13, Wire::Fixed64 | Wire::Bytes) => doubles(reader, wire, &mut self.positive.counts)?,
            (14, Wire::Varint) => self.hint = reader.varint()?,
            (15, Wire::Varint) => self.ts = reader.varint()? as i64,
            (16, Wire::Fixed64 | Wire::Bytes) => doubles(reader, wire, &mut self.custom)?,
            (17, Wire::Varint) => self.start_ts = reader.varint()? as i64,
            _ => reader.skip(number, wire)?,
        }
        Ok(())
    }

    fn histogram(self) -> Histogram {
        let hint = ResetHint::from_number(self.hint).unwrap_or_default();
        match self.is_float {
            false => Histogram::Integer(IntegerHistogram {
                hint,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero_count,
                count: self.count,
                sum: self.sum,
                positive: self.positive.integer(),
                negative: self.negative.integer(),
                custom: shared(self.custom),
            }),
            true => Histogram::Float(FloatHistogram {
                hint,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.float_zero_count,
                count: self.float_count,
                sum: self.sum,
                positive: self.positive.float(),
                negative: self.negative.float(),
                custom: shared(self.custom),
            }),
        }
    }
}

/// No memory for none.
fn shared(custom: Vec<f64>) -> Arc<[f64]> {
    match custom.is_empty() {
        true => Arc::default(),
        false => custom.into(),
    }
}

impl Side {
    fn integer(self) -> DeltaBuckets {
        DeltaBuckets {
            spans: self.spans,
            deltas: self.deltas,
        }
    }

    fn float(self) -> Buckets {
        Buckets {
            spans: self.spans,
            counts: self.counts,
        }
    }
}

fn sint32(zigzag: u64) -> i32 {
    unzigzag(u64::from(zigzag as u32)) as i32
}

fn span(reader: &mut Reader<'_>) -> Result<Span> {
    let mut reader = reader.nested()?;
    let mut span = Span::default();
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Varint) => span.offset = sint32(reader.varint()?),
            (2, Wire::Varint) => span.length = reader.varint()? as u32,
            _ => reader.skip(number, wire)?,
        }
    }
    Ok(span)
}

fn deltas(reader: &mut Reader<'_>, wire: Wire, out: &mut Vec<i64>) -> Result<()> {
    varints(reader, wire, |number| out.push(unzigzag(number)))
}

fn doubles(reader: &mut Reader<'_>, wire: Wire, out: &mut Vec<f64>) -> Result<()> {
    if wire == Wire::Fixed64 {
        out.push(reader.double()?);
        return Ok(());
    }
    let mut packed = reader.nested()?;
    out.reserve(packed.rest().len() / 8);
    while !packed.rest().is_empty() {
        out.push(packed.double()?);
    }
    Ok(())
}

/// What is stored of a histogram, and why it is not, if so. Of a stale one only that it is stale.
pub fn admit(histogram: Histogram, limits: &PushLimits) -> (Histogram, Option<HistogramFault>) {
    if histogram.is_stale() {
        return (stale(&histogram), None);
    }
    let mut histogram = histogram;
    let fault = take(&mut histogram, limits).err();
    (histogram, fault)
}

fn stale(histogram: &Histogram) -> Histogram {
    let sum = histogram.sum();
    match histogram {
        Histogram::Integer(_) => Histogram::Integer(IntegerHistogram {
            sum,
            ..IntegerHistogram::default()
        }),
        Histogram::Float(_) => Histogram::Float(FloatHistogram {
            sum,
            ..FloatHistogram::default()
        }),
    }
}

fn take(histogram: &mut Histogram, limits: &PushLimits) -> std::result::Result<(), HistogramFault> {
    let sent = schema(histogram);
    let too_fine = (SCHEMA_MAX + 1..=SCHEMA_SENT_MAX).contains(&sent);
    if too_fine {
        set_schema(histogram, SCHEMA_MAX);
    }
    histogram.validate().map_err(HistogramFault::Invalid)?;
    if too_fine {
        reduce(histogram, (sent - SCHEMA_MAX) as u32);
        set_schema(histogram, SCHEMA_MAX);
    }
    let (buckets, max) = (buckets(histogram), limits.histogram_buckets_max);
    if max == 0 || buckets <= max {
        return Ok(());
    }
    if !limits.reduce_histograms {
        return Err(HistogramFault::TooManyBuckets { buckets, max });
    }
    if schema(histogram) == CUSTOM_BUCKETS {
        return Err(HistogramFault::CustomNotReducible { buckets, max });
    }
    while self::buckets(histogram) > max {
        let coarser = schema(histogram) - 1;
        if coarser < SCHEMA_MIN {
            return Err(HistogramFault::NotReducible { buckets, max });
        }
        reduce(histogram, 1);
        set_schema(histogram, coarser);
    }
    Ok(())
}

fn schema(histogram: &Histogram) -> i32 {
    match histogram {
        Histogram::Integer(h) => h.schema,
        Histogram::Float(h) => h.schema,
    }
}

fn set_schema(histogram: &mut Histogram, schema: i32) {
    match histogram {
        Histogram::Integer(h) => h.schema = schema,
        Histogram::Float(h) => h.schema = schema,
    }
}

fn buckets(histogram: &Histogram) -> usize {
    match histogram {
        Histogram::Integer(h) => h.positive.deltas.len() + h.negative.deltas.len(),
        Histogram::Float(h) => h.positive.counts.len() + h.negative.counts.len(),
    }
}

/// Merge the buckets of a valid histogram into those of a schema that is `by` lower.
fn reduce(histogram: &mut Histogram, by: u32) {
    match histogram {
        Histogram::Integer(h) => {
            for side in [&mut h.positive, &mut h.negative] {
                let mut count = 0i64;
                let counts = side.deltas.iter().map(|delta| {
                    count = count.wrapping_add(*delta);
                    count
                });
                let (spans, counts) = merged(&side.spans, counts, by, i64::saturating_add);
                let before = std::iter::once(&0).chain(&counts);
                side.deltas = counts.iter().zip(before).map(|(c, b)| c - b).collect();
                side.spans = spans;
            }
        }
        Histogram::Float(h) => {
            for side in [&mut h.positive, &mut h.negative] {
                let counts = side.counts.iter().copied();
                (side.spans, side.counts) = merged(&side.spans, counts, by, |a, b| a + b);
            }
        }
    }
}

fn merged<T: Copy>(
    spans: &[Span],
    counts: impl Iterator<Item = T>,
    by: u32,
    add: impl Fn(T, T) -> T,
) -> (Vec<Span>, Vec<T>) {
    let (mut builder, mut sums, mut last) = (SpanBuilder::default(), Vec::new(), None);
    for (index, count) in indices(spans).zip(counts) {
        let index = reduced(index, by);
        match sums.last_mut() {
            Some(sum) if last == Some(index) => *sum = add(*sum, count),
            _ => {
                builder.push(index);
                sums.push(count);
            }
        }
        last = Some(index);
    }
    (builder.finish(), sums)
}
