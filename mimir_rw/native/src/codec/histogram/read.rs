//! Histogram chunks, sample by sample.

use std::sync::Arc;

use super::chunk::{HEADER_BYTES, Sample, header_of};
use super::kind::{Float, Integer, Kind, Numbers};
use super::layout::Layout;
use super::looks::Looks;
use super::reduce;
use crate::codec::Damaged;
use crate::codec::bits::{BitReader, same_bits};
use crate::codec::varbit;
use crate::histogram::{Buckets, FloatHistogram, ResetHint};
use crate::windows::STALE_NAN_BITS;

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
        Ok(match self.next_time()? {
            true => {
                self.next_numbers()?;
                true
            }
            false => false,
        })
    }

    /// Go to the next time; the numbers stay those of the sample before. False after the last.
    pub(super) fn next_time(&mut self) -> Result<bool, Damaged> {
        if self.read == self.total {
            return Ok(false);
        }
        if self.read == 0 {
            self.t = varbit::int(&mut self.bits);
            return Ok(true);
        }
        self.t_delta = self.t_delta.wrapping_add(varbit::int(&mut self.bits));
        let before = self.t;
        self.t = before.wrapping_add(self.t_delta);
        match self.t > before {
            true => Ok(true),
            false => Err(Damaged("histogram chunk: time does not ascend")),
        }
    }

    /// The numbers that belong to the time.
    pub(super) fn next_numbers(&mut self) -> Result<(), Damaged> {
        match self.read {
            0 => K::read_first(&mut self.bits, &mut self.numbers),
            _ => self.coding.read_next(&mut self.bits, &mut self.numbers),
        }
        self.read += 1;
        self.sound()
    }

    pub(super) fn sound(&self) -> Result<(), Damaged> {
        match self.bits.overrun() {
            true => Err(Damaged(
                "histogram chunk: ends early, or a value is too wide",
            )),
            false => Ok(()),
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
    pub(super) fn hint(&self) -> ResetHint {
        match (self.header, self.read) {
            (ResetHint::Gauge, _) => ResetHint::Gauge,
            (_, 2..) => ResetHint::NotReset,
            _ => ResetHint::Unknown,
        }
    }

    pub(super) fn is_first(&self) -> bool {
        self.read == 1
    }

    pub(super) fn is_stale(&self) -> bool {
        self.numbers.is_stale()
    }

    pub(super) fn scalars(&self) -> Scalars<K> {
        Scalars {
            count: self.numbers.count,
            zero_count: self.numbers.zero_count,
            sum: self.numbers.sum,
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

/// The numbers of a sample that are not in buckets.
#[derive(Clone, Copy)]
pub(super) struct Scalars<K: Kind> {
    pub count: K::Count,
    pub zero_count: K::Count,
    /// Bits.
    pub sum: u64,
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
    /// The buckets read last, with these numbers.
    pub(super) fn to_float(&self, scalars: Scalars<K>, hint: ResetHint) -> FloatHistogram {
        let sum = f64::from_bits(scalars.sum);
        if scalars.sum == STALE_NAN_BITS {
            return FloatHistogram {
                sum,
                ..FloatHistogram::default()
            };
        }
        let (positive, negative) = self.numbers.sides();
        let counts = |side: &[K::Bucket]| side.iter().map(|&bucket| K::bucket(bucket)).collect();
        let histogram = FloatHistogram {
            hint,
            schema: self.layout.schema,
            zero_threshold: self.layout.zero_threshold,
            zero_count: K::count(scalars.zero_count),
            count: K::count(scalars.count),
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
                histograms.push(Arc::new(self.to_float(self.scalars(), self.hint())));
            }
        }
        Ok(())
    }
}

/// Decode the samples with mint <= t <= maxt of a chunk of encoding 2 or 3 and push them; of those that are not looked
/// at only the times are right. Reading stops after maxt.
///
/// Damaged: the stream ends early, time does not ascend, or the layout cannot be. What was pushed then means nothing.
pub fn decode_into(
    encoding: u8,
    chunk: &[u8],
    mint: i64,
    maxt: i64,
    looks: &Looks,
    ts: &mut Vec<i64>,
    histograms: &mut Vec<Arc<FloatHistogram>>,
) -> Result<(), Damaged> {
    fn read<K: ToFloat>(
        reader: Reader<'_, K>,
        (mint, maxt): (i64, i64),
        looks: &Looks,
        ts: &mut Vec<i64>,
        histograms: &mut Vec<Arc<FloatHistogram>>,
    ) -> Result<(), Damaged> {
        match looks.at_all() {
            true => reader.decode_into(mint, maxt, ts, histograms),
            false => reader.decode_looked(mint, maxt, looks, ts, histograms),
        }
    }
    let range = (mint, maxt);
    match encoding {
        Integer::ENCODING => read(Reader::<Integer>::new(chunk)?, range, looks, ts, histograms),
        Float::ENCODING => read(Reader::<Float>::new(chunk)?, range, looks, ts, histograms),
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
