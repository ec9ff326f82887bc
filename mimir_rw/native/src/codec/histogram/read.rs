//! Histogram chunks, sample by sample.

use std::sync::Arc;

use super::chunk::{HEADER_BYTES, Sample, header_of};
use super::kind::{Float, Integer, Kind, Numbers};
use super::layout::Layout;
use super::reduce;
use crate::codec::Damaged;
use crate::codec::bits::{BitReader, same_bits};
use crate::codec::varbit;
use crate::histogram::{Buckets, FloatHistogram, ResetHint};

pub struct Reader<'a, K: Kind> {
    bits: BitReader<'a>,
    header: ResetHint,
    layout: Layout,
    total: u16,
    read: u16,
    t: i64,
    t_delta: i64,
    numbers: Numbers<K>,
    coding: K,
}

impl<'a, K: Kind> Reader<'a, K> {
    /// Damaged: header or layout cannot be.
    pub fn new(chunk: &'a [u8]) -> Result<Self, Damaged> {
        let Some((&[a, b, flags], stream)) = chunk.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Damaged("histogram chunk: no header"));
        };
        let total = u16::from_be_bytes([a, b]);
        let mut bits = BitReader::new(stream);
        let layout = match total {
            0 => Layout::default(),
            _ => Layout::read(&mut bits, K::BUCKET_BITS_MIN)?,
        };
        let buckets = layout.bucket_count() as usize;
        Ok(Reader {
            bits,
            header: header_of(flags),
            total,
            read: 0,
            t: 0,
            t_delta: 0,
            numbers: Numbers {
                buckets: vec![K::Bucket::default(); buckets],
                positive: layout.positive_count(),
                ..Numbers::default()
            },
            coding: K::new(buckets),
            layout,
        })
    }

    /// Go to the next sample; false after the last.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<bool, Damaged> {
        if self.read == self.total {
            return Ok(false);
        }
        if self.read == 0 {
            self.t = varbit::int(&mut self.bits);
            K::read_first(&mut self.bits, &mut self.numbers);
        } else {
            self.t_delta = self.t_delta.wrapping_add(varbit::int(&mut self.bits));
            let before = self.t;
            self.t = before.wrapping_add(self.t_delta);
            if self.t <= before {
                return Err(Damaged("histogram chunk: time does not ascend"));
            }
            self.coding.read_next(&mut self.bits, &mut self.numbers);
        }
        self.read += 1;
        match self.bits.overrun() {
            true => Err(Damaged(
                "histogram chunk: ends early, or a value is too wide",
            )),
            false => Ok(true),
        }
    }

    pub fn t(&self) -> i64 {
        self.t
    }

    pub fn header(&self) -> ResetHint {
        self.header
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What a reader may know: the chunk before may be gone, or not be the one before any more.
    fn hint(&self) -> ResetHint {
        match (self.header, self.read) {
            (ResetHint::Gauge, _) => ResetHint::Gauge,
            (_, 2..) => ResetHint::NotReset,
            _ => ResetHint::Unknown,
        }
    }

    /// The sample as it could be appended to another chunk.
    pub fn sample(&self) -> Sample<K> {
        if self.numbers.is_stale() {
            return Sample {
                hint: ResetHint::Unknown,
                layout: Layout::default(),
                numbers: Numbers {
                    sum: self.numbers.sum,
                    ..Numbers::default()
                },
            };
        }
        Sample {
            hint: self.hint(),
            layout: self.layout.clone(),
            numbers: self.numbers.clone(),
        }
    }
}

/// Numbers as the engine has them.
pub trait ToFloat: Kind {
    fn count(count: Self::Count) -> f64;
    fn bucket(bucket: Self::Bucket) -> f64;
}

impl ToFloat for Integer {
    fn count(count: u64) -> f64 {
        count as f64
    }

    fn bucket(bucket: i64) -> f64 {
        bucket as f64
    }
}

impl ToFloat for Float {
    fn count(count: f64) -> f64 {
        count
    }

    fn bucket(bucket: f64) -> f64 {
        bucket
    }
}

impl<K: ToFloat> Reader<'_, K> {
    pub fn to_float(&self) -> FloatHistogram {
        let numbers = &self.numbers;
        let sum = f64::from_bits(numbers.sum);
        if numbers.is_stale() {
            return FloatHistogram {
                sum,
                ..FloatHistogram::default()
            };
        }
        let (positive, negative) = numbers.sides();
        let counts = |side: &[K::Bucket]| side.iter().map(|&bucket| K::bucket(bucket)).collect();
        let histogram = FloatHistogram {
            hint: self.hint(),
            schema: self.layout.schema,
            zero_threshold: self.layout.zero_threshold,
            zero_count: K::count(numbers.zero_count),
            count: K::count(numbers.count),
            sum,
            positive: Buckets {
                spans: self.layout.positive.clone(),
                counts: counts(positive),
            },
            negative: Buckets {
                spans: self.layout.negative.clone(),
                counts: counts(negative),
            },
            custom: self.layout.custom.clone(),
        };
        reduce::to_known(histogram)
    }

    fn decode_into(
        mut self,
        mint: i64,
        maxt: i64,
        ts: &mut Vec<i64>,
        histograms: &mut Vec<Arc<FloatHistogram>>,
    ) -> Result<(), Damaged> {
        while self.next()? {
            if self.t > maxt {
                break;
            }
            if self.t >= mint {
                ts.push(self.t);
                histograms.push(Arc::new(self.to_float()));
            }
        }
        Ok(())
    }
}

/// Decode the samples with mint <= t <= maxt of a chunk of encoding 2 or 3 and push them. Reading stops after maxt.
///
/// Damaged: the stream ends early, time does not ascend, or the layout cannot be. What was pushed then means nothing.
pub fn decode_into(
    encoding: u8,
    chunk: &[u8],
    mint: i64,
    maxt: i64,
    ts: &mut Vec<i64>,
    histograms: &mut Vec<Arc<FloatHistogram>>,
) -> Result<(), Damaged> {
    match encoding {
        Integer::ENCODING => Reader::<Integer>::new(chunk)?.decode_into(mint, maxt, ts, histograms),
        Float::ENCODING => Reader::<Float>::new(chunk)?.decode_into(mint, maxt, ts, histograms),
        _ => Err(Damaged("a chunk of an encoding that is not histograms")),
    }
}

/// Whether all samples of `part` are the first ones of `whole`, to the bit.
pub fn begins_like(encoding: u8, whole: &[u8], part: &[u8]) -> bool {
    match encoding {
        Integer::ENCODING => begins::<Integer>(whole, part),
        _ => begins::<Float>(whole, part),
    }
    .unwrap_or(false)
}

fn begins<K: Kind>(whole: &[u8], part: &[u8]) -> Result<bool, Damaged> {
    let (mut reader, of_part) = (Reader::<K>::new(whole)?, Reader::<K>::new(part)?);
    if of_part.total == 0 || of_part.total > reader.total || of_part.header != reader.header {
        return Ok(false);
    }
    for _ in 0..of_part.total {
        reader.next()?;
    }
    let bits = reader.bits.position();
    Ok(same_bits(
        &whole[HEADER_BYTES..],
        &part[HEADER_BYTES..],
        bits,
    ))
}

/// Samples that the chunk says it has, and spans, buckets and bounds of each.
pub fn extent(encoding: u8, chunk: &[u8]) -> Result<(usize, usize), Damaged> {
    let bucket_bits_min = match encoding {
        Integer::ENCODING => Integer::BUCKET_BITS_MIN,
        Float::ENCODING => Float::BUCKET_BITS_MIN,
        _ => return Err(Damaged("a chunk of an encoding that is not histograms")),
    };
    let Some((&[a, b, _], stream)) = chunk.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Damaged("histogram chunk: no header"));
    };
    let count = usize::from(u16::from_be_bytes([a, b]));
    if count == 0 {
        return Ok((0, 0));
    }
    let layout = Layout::read(&mut BitReader::new(stream), bucket_bits_min)?;
    Ok((count, layout.parts() as usize))
}
