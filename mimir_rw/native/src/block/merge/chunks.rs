//! The chunks of one series from all sources, made into chunks that follow one another.
//!
//! Chunks that overlap no other are taken as they are, equal ones of replicas once. Those that overlap are decoded,
//! merged by time (one sample for each time: that of the first source) and encoded anew. Small chunks of floats that
//! follow one another are joined.

use std::ops::Range;

use super::MergeError;
use crate::block::ChunkRef;
use crate::block::segments::{ChunkCursor, samples_of};
use crate::block::series::ChunkMeta;
use crate::codec::Damaged;
use crate::codec::bits::BitVec;
use crate::codec::histogram::OpenChunk;
use crate::codec::histogram::chunk::{Chunk, Sample};
use crate::codec::histogram::kind::{Float, Integer, Kind};
use crate::codec::histogram::read::Reader;
use crate::codec::merge::merge_runs;
use crate::codec::xor::{self, XorState};
use crate::histogram::ResetHint;

pub const FLOATS: u8 = 1;
/// Samples of a chunk that is encoded anew.
const SAMPLES: usize = 120;
/// Histograms are cut by their size too, from so many samples on.
const HISTOGRAM_BYTES: usize = 2 << 10;
const HISTOGRAM_SAMPLES_MIN: u16 = 10;
/// What chunks that are joined have at most: as much as a head's chunk.
const JOINED_SAMPLES: usize = 240;
const JOINED_BYTES: usize = 1005;

/// A chunk, with its data in the arena.
#[derive(Clone, Debug)]
struct Part {
    mint: i64,
    maxt: i64,
    encoding: u8,
    data: Range<usize>,
    source: usize,
    /// Which of the source's chunks of the series it is; none when it was encoded here.
    number: Option<usize>,
}

/// Reused from series to series.
#[derive(Default)]
pub struct SeriesChunks {
    /// Data of chunks that were read, and of those that were made.
    arena: Vec<u8>,
    parts: Vec<Part>,
    made: Vec<Part>,
    joined: Vec<Part>,
    ts: Vec<i64>,
    values: Vec<f64>,
    ends: Vec<usize>,
}

impl SeriesChunks {
    pub fn clear(&mut self) {
        self.arena.clear();
        self.parts.clear();
    }

    /// Read the chunks that a source has.
    pub fn read(
        &mut self,
        source: usize,
        metas: &[ChunkMeta],
        cursor: &mut ChunkCursor<'_>,
    ) -> Result<(), MergeError> {
        for (number, meta) in metas.iter().enumerate() {
            let start = self.arena.len();
            let encoding = cursor
                .read(meta.reference, &mut self.arena)
                .map_err(MergeError::of(source))?;
            let data = start..self.arena.len();
            let (samples, _) = samples_of(encoding, &self.arena[data.clone()])
                .map_err(|error| MergeError::damaged(source, error))?;
            if samples > 0 {
                self.parts.push(Part {
                    mint: meta.mint,
                    maxt: meta.maxt,
                    encoding,
                    data,
                    source,
                    number: Some(number),
                });
            }
        }
        Ok(())
    }

    /// Merge what was read.
    pub fn merge(&mut self) -> Result<(), MergeError> {
        self.parts
            .sort_by_key(|part| (part.mint, part.maxt, part.source));
        self.drop_equal();
        self.made.clear();
        let mut at = 0;
        while at < self.parts.len() {
            let mut end = at + 1;
            let mut maxt = self.parts[at].maxt;
            while let Some(part) = self.parts.get(end).filter(|part| part.mint <= maxt) {
                maxt = maxt.max(part.maxt);
                end += 1;
            }
            match end - at {
                1 => self.take(at),
                _ => self.encode_anew(at..end)?,
            }
            at = end;
        }
        self.join()
    }

    /// The result: chunks that ascend without overlap.
    pub fn result(&self) -> impl Iterator<Item = ChunkRef<'_>> {
        self.joined.iter().map(|part| ChunkRef {
            mint: part.mint,
            maxt: part.maxt,
            encoding: part.encoding,
            data: &self.arena[part.data.clone()],
        })
    }

    /// Of chunks with the same bytes for the same time keep that of the first source. Others with the same time may
    /// lie between them.
    fn drop_equal(&mut self) {
        let SeriesChunks { parts, arena, .. } = self;
        let mut kept = 0;
        for at in 0..parts.len() {
            let part = parts[at].clone();
            let same_time = parts[..kept]
                .iter()
                .rev()
                .take_while(|other| (other.mint, other.maxt) == (part.mint, part.maxt));
            let mut same_time = same_time.filter(|other| other.encoding == part.encoding);
            if !same_time.any(|other| arena[other.data.clone()] == arena[part.data.clone()]) {
                parts[kept] = part;
                kept += 1;
            }
        }
        parts.truncate(kept);
    }

    /// Take a chunk as it is. What the header of a histogram chunk says is about the chunk before it; unless that is
    /// before it here too, nothing is known.
    fn take(&mut self, at: usize) {
        let part = self.parts[at].clone();
        let follows = match self.made.last() {
            None => part.number == Some(0),
            Some(before) => {
                let number = before.number.map(|number| number + 1);
                before.source == part.source && number == part.number
            }
        };
        if !follows {
            self.forget_reset(&part);
        }
        self.made.push(part);
    }

    fn forget_reset(&mut self, part: &Part) {
        const HEADER: u8 = 0b1100_0000;
        // Chunks with start times have their header elsewhere; they are left alone.
        if (part.encoding == Integer::ENCODING || part.encoding == Float::ENCODING)
            && let Some(flags) = self.arena[part.data.clone()].get_mut(2)
            && *flags & HEADER != HEADER
        {
            *flags &= !HEADER;
        }
    }

    fn encode_anew(&mut self, cluster: Range<usize>) -> Result<(), MergeError> {
        let parts = &mut self.parts[cluster.clone()];
        // The first source wins at equal times.
        parts.sort_by_key(|part| (part.source, part.mint));
        match parts.iter().all(|part| part.encoding == FLOATS) {
            true => self.floats_anew(cluster),
            false => self.mixed_anew(cluster),
        }
    }

    fn floats_anew(&mut self, cluster: Range<usize>) -> Result<(), MergeError> {
        self.ts.clear();
        self.values.clear();
        self.ends.clear();
        for at in cluster {
            self.decode_floats(at)?;
            self.ends.push(self.ts.len());
        }
        merge_runs(&mut self.ts, &mut self.values, 0, &self.ends);
        for from in (0..self.ts.len()).step_by(SAMPLES) {
            let to = (from + SAMPLES).min(self.ts.len());
            let made = self.encode_floats(from..to);
            self.made.push(made);
        }
        Ok(())
    }

    fn decode_floats(&mut self, at: usize) -> Result<(), MergeError> {
        let part = &self.parts[at];
        let data = &self.arena[part.data.clone()];
        xor::decode_into(data, i64::MIN, i64::MAX, &mut self.ts, &mut self.values)
            .map_err(|error| MergeError::damaged(part.source, error))
    }

    /// A chunk of some of the decoded samples, at least one.
    fn encode_floats(&mut self, samples: Range<usize>) -> Part {
        let mut state = XorState::default();
        let mut stream = BitVec::default();
        for at in samples.clone() {
            state.append(&mut stream, self.ts[at], self.values[at].to_bits());
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(&state.count.to_be_bytes());
        self.arena.extend_from_slice(&stream.bytes);
        Part {
            mint: self.ts[samples.start],
            maxt: self.ts[samples.end - 1],
            encoding: FLOATS,
            data: start..self.arena.len(),
            source: 0,
            number: None,
        }
    }

    /// Chunks of several kinds, sample by sample.
    fn mixed_anew(&mut self, cluster: Range<usize>) -> Result<(), MergeError> {
        let mut samples: Vec<(i64, Value)> = Vec::new();
        for part in &self.parts[cluster] {
            let data = &self.arena[part.data.clone()];
            decode(part.encoding, data, &mut samples)
                .map_err(|error| MergeError::damaged(part.source, error))?;
        }
        // Stable: equal times stay in the order of their sources.
        samples.sort_by_key(|sample| sample.0);
        samples.dedup_by_key(|sample| sample.0);
        let mut writer = Writer {
            arena: &mut self.arena,
            made: &mut self.made,
            open: Open::Nothing,
            mint: 0,
        };
        for (t, value) in samples {
            writer.append(t, value);
        }
        writer.close();
        Ok(())
    }

    /// Join small chunks of floats as long as they make no large one.
    fn join(&mut self) -> Result<(), MergeError> {
        self.joined.clear();
        let mut at = 0;
        while at < self.made.len() {
            let (mut samples, mut bytes, mut end) = (0, 0, at);
            while let Some(part) = self.made.get(end).filter(|part| part.encoding == FLOATS) {
                let data = &self.arena[part.data.clone()];
                samples += xor::sample_count(data).unwrap_or(JOINED_SAMPLES);
                bytes += data.len();
                if samples > JOINED_SAMPLES || bytes > JOINED_BYTES {
                    break;
                }
                end += 1;
            }
            match end - at {
                0 | 1 => {
                    self.joined.push(self.made[at].clone());
                    at += 1;
                }
                _ => {
                    let joined = self.join_range(at..end)?;
                    self.joined.push(joined);
                    at = end;
                }
            }
        }
        Ok(())
    }

    fn join_range(&mut self, range: Range<usize>) -> Result<Part, MergeError> {
        self.ts.clear();
        self.values.clear();
        for part in &self.made[range] {
            let data = &self.arena[part.data.clone()];
            xor::decode_into(data, i64::MIN, i64::MAX, &mut self.ts, &mut self.values)
                .map_err(|error| MergeError::damaged(part.source, error))?;
        }
        Ok(self.encode_floats(0..self.ts.len()))
    }
}

/// A sample of any kind.
enum Value {
    Float(u64),
    Integers(Box<Sample<Integer>>),
    Floats(Box<Sample<Float>>),
}

fn decode(encoding: u8, data: &[u8], out: &mut Vec<(i64, Value)>) -> Result<(), Damaged> {
    match encoding {
        FLOATS => {
            let (mut ts, mut values) = (Vec::new(), Vec::new());
            xor::decode_into(data, i64::MIN, i64::MAX, &mut ts, &mut values)?;
            let values = values
                .into_iter()
                .map(|value| Value::Float(value.to_bits()));
            out.extend(ts.into_iter().zip(values));
            Ok(())
        }
        Integer::ENCODING => decode_histograms(data, out, Value::Integers),
        Float::ENCODING => decode_histograms(data, out, Value::Floats),
        _ => Err(Damaged(
            "chunks of an encoding that cannot be merged overlap",
        )),
    }
}

fn decode_histograms<K: Kind>(
    data: &[u8],
    out: &mut Vec<(i64, Value)>,
    kind: fn(Box<Sample<K>>) -> Value,
) -> Result<(), Damaged> {
    let mut reader = Reader::<K>::new(data)?;
    while reader.next()? {
        let mut sample = reader.sample();
        // A stale sample says nothing about itself, but the chunk does.
        if reader.header() == ResetHint::Gauge {
            sample.hint = ResetHint::Gauge;
        }
        out.push((reader.t(), kind(Box::new(sample))));
    }
    Ok(())
}

/// Which of the two kinds of open chunks.
trait Kinded: Kind {
    fn of(open: &mut OpenChunk) -> Option<&mut Chunk<Self>>;
    fn wrap(chunk: Chunk<Self>) -> OpenChunk;
}

impl Kinded for Integer {
    fn of(open: &mut OpenChunk) -> Option<&mut Chunk<Self>> {
        match open {
            OpenChunk::Integer(chunk) => Some(chunk),
            OpenChunk::Float(_) => None,
        }
    }

    fn wrap(chunk: Chunk<Self>) -> OpenChunk {
        OpenChunk::Integer(chunk)
    }
}

impl Kinded for Float {
    fn of(open: &mut OpenChunk) -> Option<&mut Chunk<Self>> {
        match open {
            OpenChunk::Float(chunk) => Some(chunk),
            OpenChunk::Integer(_) => None,
        }
    }

    fn wrap(chunk: Chunk<Self>) -> OpenChunk {
        OpenChunk::Float(chunk)
    }
}

#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Floats(XorState, BitVec),
    Histograms(OpenChunk),
}

/// Writes samples of changing kinds to chunks.
struct Writer<'a> {
    arena: &'a mut Vec<u8>,
    made: &'a mut Vec<Part>,
    open: Open,
    mint: i64,
}

impl Writer<'_> {
    fn append(&mut self, t: i64, value: Value) {
        match value {
            Value::Float(bits) => self.append_float(t, bits),
            Value::Integers(sample) => self.append_histogram(t, *sample),
            Value::Floats(sample) => self.append_histogram(t, *sample),
        }
    }

    fn append_float(&mut self, t: i64, bits: u64) {
        if let Open::Floats(state, stream) = &mut self.open
            && usize::from(state.count) < SAMPLES
        {
            return state.append(stream, t, bits);
        }
        let (mut state, mut stream) = (XorState::default(), BitVec::default());
        state.append(&mut stream, t, bits);
        self.begin(t, Open::Floats(state, stream));
    }

    fn append_histogram<K: Kinded>(&mut self, t: i64, sample: Sample<K>) {
        let open = match &mut self.open {
            Open::Histograms(open) => K::of(open),
            _ => None,
        };
        let next = match open {
            None => Some(Chunk::start(t, sample, None)),
            Some(chunk) if is_full(chunk) => Some(Chunk::start(t, sample, Some(chunk))),
            Some(chunk) => chunk.append(t, sample),
        };
        if let Some(next) = next {
            self.begin(t, Open::Histograms(K::wrap(next)));
        }
    }

    fn begin(&mut self, t: i64, next: Open) {
        self.close();
        (self.open, self.mint) = (next, t);
    }

    fn close(&mut self) {
        let start = self.arena.len();
        let (encoding, maxt) = match std::mem::take(&mut self.open) {
            Open::Nothing => return,
            Open::Floats(state, stream) => {
                self.arena.extend_from_slice(&state.count.to_be_bytes());
                self.arena.extend_from_slice(&stream.bytes);
                (FLOATS, state.t)
            }
            Open::Histograms(chunk) => {
                chunk.copy_to(self.arena);
                (chunk.encoding(), chunk.t())
            }
        };
        self.made.push(Part {
            mint: self.mint,
            maxt,
            encoding,
            data: start..self.arena.len(),
            source: 0,
            number: None,
        });
    }
}

fn is_full<K: Kind>(chunk: &Chunk<K>) -> bool {
    let large = chunk.byte_len() >= HISTOGRAM_BYTES && chunk.count() >= HISTOGRAM_SAMPLES_MIN;
    large || usize::from(chunk.count()) >= SAMPLES
}
