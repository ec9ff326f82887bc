//! Histogram chunks: integer (encoding 2) and float (encoding 3); tsdb-block.md sections 9 and 10.
//!
//! `chunk` appends: it decides whether a sample goes into the open chunk, whether chunk or sample must be widened first,
//! or whether a new chunk begins, and with which header. `read` decodes. What both share: `layout` (in front of the
//! samples), `kind` (how numbers are coded), `spans` (which buckets there are).

pub mod chunk;
pub mod kind;
pub mod layout;
pub mod looks;
pub mod read;
pub mod reduce;
pub mod spans;

#[cfg(test)]
pub(crate) mod tests;

use chunk::{Chunk, Sample};
use kind::{Float, Integer, Kind, Numbers};
use layout::Layout;

use crate::histogram::stored::DeltaBuckets;
use crate::histogram::{FloatHistogram, Histogram, IntegerHistogram, Span};

/// An open chunk of either kind.
#[derive(Clone, Debug)]
pub enum OpenChunk {
    Integer(Chunk<Integer>),
    Float(Chunk<Float>),
}

impl OpenChunk {
    /// A chunk with its first sample. `before`: the chunk that the series had until now, if this one follows because
    /// that one was full.
    pub fn start(t: i64, histogram: &Histogram, before: Option<&Self>) -> Self {
        match histogram {
            Histogram::Integer(histogram) => {
                let before = match before {
                    Some(Self::Integer(chunk)) => Some(chunk),
                    _ => None,
                };
                Self::Integer(Chunk::start(t, integer_sample(histogram), before))
            }
            Histogram::Float(histogram) => {
                let before = match before {
                    Some(Self::Float(chunk)) => Some(chunk),
                    _ => None,
                };
                Self::Float(Chunk::start(t, float_sample(histogram), before))
            }
        }
    }

    /// Append a sample that is later than the last. Some: it went into a new chunk, and this one stays as it is.
    pub fn append(&mut self, t: i64, histogram: &Histogram) -> Option<Self> {
        match (&mut *self, histogram) {
            (Self::Integer(chunk), Histogram::Integer(histogram)) => {
                let cut = chunk.append(t, integer_sample(histogram));
                cut.map(Self::Integer)
            }
            (Self::Float(chunk), Histogram::Float(histogram)) => {
                chunk.append(t, float_sample(histogram)).map(Self::Float)
            }
            _ => Some(Self::start(t, histogram, None)),
        }
    }

    pub fn encoding(&self) -> u8 {
        match self {
            Self::Integer(_) => Integer::ENCODING,
            Self::Float(_) => Float::ENCODING,
        }
    }

    pub fn takes(&self, histogram: &Histogram) -> bool {
        self.encoding() == encoding_of(histogram)
    }

    pub fn count(&self) -> u16 {
        match self {
            Self::Integer(chunk) => chunk.count(),
            Self::Float(chunk) => chunk.count(),
        }
    }

    /// Time of the last sample.
    pub fn t(&self) -> i64 {
        match self {
            Self::Integer(chunk) => chunk.t(),
            Self::Float(chunk) => chunk.t(),
        }
    }

    pub fn byte_len(&self) -> usize {
        match self {
            Self::Integer(chunk) => chunk.byte_len(),
            Self::Float(chunk) => chunk.byte_len(),
        }
    }

    /// Bytes held, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.byte_len()
            + match self {
                Self::Integer(chunk) => chunk.memory_bytes(),
                Self::Float(chunk) => chunk.memory_bytes(),
            }
    }

    pub fn copy_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(chunk) => chunk.copy_to(out),
            Self::Float(chunk) => chunk.copy_to(out),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.byte_len());
        self.copy_to(&mut bytes);
        bytes
    }
}

/// Whether the buckets of a histogram are those that its spans say, and ascend.
pub fn is_sound(histogram: &Histogram) -> bool {
    let side = |spans: &[Span], buckets: usize| {
        spans::are_sound(spans) && spans::bucket_count(spans) == buckets as u64
    };
    match histogram {
        Histogram::Integer(h) => {
            side(&h.positive.spans, h.positive.deltas.len())
                && side(&h.negative.spans, h.negative.deltas.len())
        }
        Histogram::Float(h) => {
            side(&h.positive.spans, h.positive.counts.len())
                && side(&h.negative.spans, h.negative.counts.len())
        }
    }
}

pub fn encoding_of(histogram: &Histogram) -> u8 {
    match histogram {
        Histogram::Integer(_) => Integer::ENCODING,
        Histogram::Float(_) => Float::ENCODING,
    }
}

/// Chunks of samples in ascending time: encoding, first and last time, bytes of each.
pub fn chunks_of<'a>(
    samples: impl Iterator<Item = (i64, &'a Histogram)>,
) -> Vec<(u8, i64, i64, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut open: Option<(i64, OpenChunk)> = None;
    let closed =
        |(mint, chunk): (i64, OpenChunk)| (chunk.encoding(), mint, chunk.t(), chunk.to_bytes());
    for (t, histogram) in samples {
        let next = match &mut open {
            None => Some(OpenChunk::start(t, histogram, None)),
            Some((_, chunk)) if chunk.count() == chunk::SAMPLES_MAX => {
                Some(OpenChunk::start(t, histogram, Some(chunk)))
            }
            Some((_, chunk)) => chunk.append(t, histogram),
        };
        if let Some(next) = next {
            chunks.extend(open.replace((t, next)).map(closed));
        }
    }
    chunks.extend(open.map(closed));
    chunks
}

/// Counts of the buckets, each for itself.
pub fn absolute(side: &DeltaBuckets) -> impl Iterator<Item = i64> + '_ {
    side.deltas.iter().scan(0i64, |count, &delta| {
        *count = count.wrapping_add(delta);
        Some(*count)
    })
}

fn integer_sample(h: &IntegerHistogram) -> Sample<Integer> {
    let (positive, negative) = (absolute(&h.positive), absolute(&h.negative));
    Sample {
        hint: h.hint,
        layout: Layout {
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            positive: h.positive.spans.clone(),
            negative: h.negative.spans.clone(),
            custom: h.custom.clone(),
        },
        numbers: Numbers {
            count: h.count,
            zero_count: h.zero_count,
            sum: h.sum.to_bits(),
            positive: h.positive.deltas.len(),
            buckets: positive.chain(negative).collect(),
        },
    }
}

fn float_sample(h: &FloatHistogram) -> Sample<Float> {
    let (positive, negative) = (&h.positive.counts, &h.negative.counts);
    Sample {
        hint: h.hint,
        layout: Layout {
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            positive: h.positive.spans.clone(),
            negative: h.negative.spans.clone(),
            custom: h.custom.clone(),
        },
        numbers: Numbers {
            count: h.count,
            zero_count: h.zero_count,
            sum: h.sum.to_bits(),
            positive: positive.len(),
            buckets: positive.iter().chain(negative).copied().collect(),
        },
    }
}
