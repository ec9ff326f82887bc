//! An open histogram chunk, and when a sample may go into it (tsdb-block.md section 9.4).

use super::kind::{Kind, Numbers};
use super::layout::Layout;
use super::read::Reader;
use super::spans::{self, Lack, counter_lack, relaid};
use crate::codec::bits::BitVec;
use crate::codec::varbit;
use crate::histogram::{CUSTOM_BUCKETS, ResetHint, Span};

/// Sample count and flags, in front of the stream.
pub const HEADER_BYTES: usize = 3;
/// Most samples that one chunk may hold.
pub const SAMPLES_MAX: u16 = u16::MAX;

/// A histogram as chunks see it.
#[derive(Clone, Debug)]
pub struct Sample<K: Kind> {
    pub hint: ResetHint,
    pub layout: Layout,
    pub numbers: Numbers<K>,
}

impl<K: Kind> Sample<K> {
    /// Give it the buckets of a layout that has all of its own.
    fn relay(&mut self, positive: Vec<Span>, negative: Vec<Span>) {
        let (old_positive, old_negative) = self.numbers.sides();
        let mut buckets = relaid(&self.layout.positive, old_positive, &positive);
        let positives = buckets.len();
        buckets.extend(relaid(&self.layout.negative, old_negative, &negative));
        self.numbers.positive = positives;
        self.numbers.buckets = buckets;
        (self.layout.positive, self.layout.negative) = (positive, negative);
    }
}

/// What a stale marker leaves of a sample: nothing but its sum.
fn emptied<K: Kind>(sample: Sample<K>) -> Sample<K> {
    match sample.numbers.is_stale() {
        false => sample,
        true => Sample {
            hint: sample.hint,
            layout: Layout::default(),
            numbers: Numbers {
                sum: sample.numbers.sum,
                ..Numbers::default()
            },
        },
    }
}

/// Why a sample needs a new chunk: what that one's header says about the sample before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NewChunk(ResetHint);

/// What chunk and sample lack of each other, on the positive and on the negative side.
type Fit = Result<(Lack, Lack), NewChunk>;

const SAME_LAYOUT: Fit = Ok((
    Lack {
        chunk: false,
        sample: false,
    },
    Lack {
        chunk: false,
        sample: false,
    },
));

#[derive(Clone, Debug)]
pub struct Chunk<K: Kind> {
    header: ResetHint,
    layout: Layout,
    count: u16,
    t: i64,
    t_delta: i64,
    numbers: Numbers<K>,
    coding: K,
    stream: BitVec,
}

impl<K: Kind> Chunk<K> {
    fn new(t: i64, sample: Sample<K>, header: ResetHint) -> Self {
        let sample = emptied(sample);
        let mut chunk = Chunk {
            header,
            coding: K::new(sample.numbers.buckets.len()),
            layout: sample.layout,
            count: 1,
            t,
            t_delta: 0,
            numbers: sample.numbers,
            stream: BitVec::default(),
        };
        chunk.layout.put(&mut chunk.stream);
        varbit::put_int(&mut chunk.stream, t);
        K::put_first(&mut chunk.stream, &chunk.numbers);
        chunk
    }

    /// The first chunk, or one that follows `before`, which was full.
    pub fn start(t: i64, sample: Sample<K>, before: Option<&Self>) -> Self {
        let header = match (sample.hint, before) {
            (hint @ (ResetHint::Gauge | ResetHint::Reset), _) => hint,
            (_, None) => ResetHint::Unknown,
            (_, Some(before)) => match before.counter_fit(&sample) {
                Ok(_) => ResetHint::NotReset,
                Err(NewChunk(ResetHint::Unknown)) => K::UNKNOWN_AFTER_FULL,
                Err(NewChunk(why)) => why,
            },
        };
        Self::new(t, sample, header)
    }

    /// Append a sample that is later than the last; there are fewer than `SAMPLES_MAX`. Some: it went into a new chunk,
    /// and this one stays as it is.
    pub fn append(&mut self, t: i64, sample: Sample<K>) -> Option<Self> {
        let fit = match sample.hint {
            ResetHint::Gauge => self.gauge_fit(&sample),
            _ => self.counter_fit(&sample),
        };
        match fit {
            Ok((positive, negative)) => {
                self.append_fitting(t, emptied(sample), positive, negative);
                None
            }
            Err(NewChunk(header)) => Some(Self::new(t, sample, header)),
        }
    }

    fn counter_fit(&self, sample: &Sample<K>) -> Fit {
        let (old, new) = (&self.numbers, &sample.numbers);
        if self.header == ResetHint::Gauge {
            return Err(NewChunk(K::AFTER_GAUGE));
        }
        if sample.hint == ResetHint::Reset {
            return Err(NewChunk(ResetHint::Reset));
        }
        if new.is_stale() {
            return SAME_LAYOUT;
        }
        if old.is_stale() {
            return Err(NewChunk(ResetHint::Unknown));
        }
        if new.count < old.count {
            return Err(NewChunk(ResetHint::Reset));
        }
        if !self.same_scale(sample) {
            return Err(NewChunk(ResetHint::Unknown));
        }
        if !self.same_bounds(sample) || new.zero_count < old.zero_count {
            return Err(NewChunk(ResetHint::Reset));
        }
        let ((old_positive, old_negative), (positive, negative)) = (old.sides(), new.sides());
        let (chunk, sample) = (&self.layout, &sample.layout);
        let positive = counter_lack(
            (&chunk.positive, old_positive),
            (&sample.positive, positive),
        );
        let negative = counter_lack(
            (&chunk.negative, old_negative),
            (&sample.negative, negative),
        );
        positive.zip(negative).ok_or(NewChunk(ResetHint::Reset))
    }

    fn gauge_fit(&self, sample: &Sample<K>) -> Fit {
        if self.header != ResetHint::Gauge {
            return Err(NewChunk(ResetHint::Gauge));
        }
        if sample.numbers.is_stale() {
            return SAME_LAYOUT;
        }
        if self.numbers.is_stale() || !self.same_scale(sample) || !self.same_bounds(sample) {
            return Err(NewChunk(ResetHint::Gauge));
        }
        let (chunk, sample) = (&self.layout, &sample.layout);
        Ok((
            spans::lack(&chunk.positive, &sample.positive),
            spans::lack(&chunk.negative, &sample.negative),
        ))
    }

    fn same_scale(&self, sample: &Sample<K>) -> bool {
        let (chunk, sample) = (&self.layout, &sample.layout);
        chunk.schema == sample.schema && chunk.zero_threshold == sample.zero_threshold
    }

    fn same_bounds(&self, sample: &Sample<K>) -> bool {
        self.layout.schema != CUSTOM_BUCKETS || self.layout.custom == sample.layout.custom
    }

    fn append_fitting(&mut self, t: i64, mut sample: Sample<K>, positive: Lack, negative: Lack) {
        let chunk_lacks = positive.chunk || negative.chunk;
        if positive.sample || negative.sample {
            let spans = match (chunk_lacks, sample.hint) {
                (false, _) => (self.layout.positive.clone(), self.layout.negative.clone()),
                (true, ResetHint::Gauge) => (
                    spans::union(&self.layout.positive, &sample.layout.positive),
                    spans::union(&self.layout.negative, &sample.layout.negative),
                ),
                (true, _) => (
                    widened(&self.layout.positive, &sample.layout.positive, positive),
                    widened(&self.layout.negative, &sample.layout.negative, negative),
                ),
            };
            sample.relay(spans.0, spans.1);
        }
        if chunk_lacks {
            self.recode(&sample.layout);
        }
        self.put(t, sample.numbers);
    }

    /// Write all samples again in a layout that has more buckets.
    fn recode(&mut self, layout: &Layout) {
        let old = self.to_bytes();
        let Ok(mut reader) = Reader::<K>::new(&old) else {
            return;
        };
        let mut wide: Option<Self> = None;
        while let Ok(true) = reader.next() {
            let mut sample = reader.sample();
            sample.relay(layout.positive.clone(), layout.negative.clone());
            match &mut wide {
                None => wide = Some(Self::new(reader.t(), sample, self.header)),
                Some(chunk) => chunk.put(reader.t(), sample.numbers),
            }
        }
        if let Some(chunk) = wide {
            *self = chunk;
        }
    }

    fn put(&mut self, t: i64, numbers: Numbers<K>) {
        let delta = t.wrapping_sub(self.t);
        varbit::put_int(&mut self.stream, delta.wrapping_sub(self.t_delta));
        self.coding
            .put_next(&mut self.stream, &self.numbers, &numbers);
        (self.t, self.t_delta) = (t, delta);
        self.count += 1;
        match numbers.is_stale() {
            false => self.numbers = numbers,
            true => {
                self.numbers.count = numbers.count;
                self.numbers.zero_count = numbers.zero_count;
                self.numbers.sum = numbers.sum;
            }
        }
    }

    pub fn count(&self) -> u16 {
        self.count
    }

    /// Time of the last sample.
    pub fn t(&self) -> i64 {
        self.t
    }

    pub fn byte_len(&self) -> usize {
        HEADER_BYTES + self.stream.bytes.len()
    }

    /// Bytes that the next append needs beside those of the chunk.
    pub fn memory_bytes(&self) -> usize {
        let buckets = self.numbers.buckets.len() * (size_of::<K::Bucket>() + K::BUCKET_STATE_BYTES);
        let spans = self.layout.positive.len() + self.layout.negative.len();
        buckets + spans * size_of::<Span>() + self.layout.custom.len() * 8
    }

    /// The chunk as it is stored: sample count, header, stream.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_be_bytes());
        out.push(flags_of(self.header));
        out.extend_from_slice(&self.stream.bytes);
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.byte_len());
        self.copy_to(&mut bytes);
        bytes
    }
}

/// The spans of a sample with those buckets of the chunk that it lacks.
fn widened(chunk: &[Span], sample: &[Span], lack: Lack) -> Vec<Span> {
    match lack.sample {
        true => spans::union(chunk, sample),
        false => sample.to_vec(),
    }
}

/// The header's two bits.
fn flags_of(header: ResetHint) -> u8 {
    match header {
        ResetHint::Unknown => 0,
        ResetHint::NotReset => 0b0100_0000,
        ResetHint::Reset => 0b1000_0000,
        ResetHint::Gauge => 0b1100_0000,
    }
}

pub fn header_of(flags: u8) -> ResetHint {
    match flags >> 6 {
        0 => ResetHint::Unknown,
        1 => ResetHint::NotReset,
        2 => ResetHint::Reset,
        _ => ResetHint::Gauge,
    }
}
