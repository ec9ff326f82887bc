//! The histograms of one series: chunks as of floats, cut by size (tsdb-block.md section 14).

use std::sync::Arc;

use super::identity;
use super::series::{Chunk, planned_end, range_end};
use crate::codec::histogram::chunk::SAMPLES_MAX;
use crate::codec::histogram::looks::Looks;
use crate::codec::histogram::read::decode_into;
use crate::codec::histogram::{OpenChunk, chunks_of};
use crate::histogram::Histogram;

const CHUNK_BYTES: usize = 1024;
const CHUNK_SAMPLES_MIN: u16 = 10;

/// A closed chunk of encoding 2 or 3.
#[derive(Clone, Debug)]
pub struct HistogramChunk {
    pub encoding: u8,
    pub chunk: Chunk,
}

impl HistogramChunk {
    fn has(&self, t: i64, wanted: u64) -> bool {
        self.chunk.mint <= t
            && t <= self.chunk.maxt
            && has(self.encoding, &self.chunk.data, t, wanted)
    }
}

fn has(encoding: u8, chunk: &[u8], t: i64, wanted: u64) -> bool {
    let (mut ts, mut found) = (Vec::new(), Vec::new());
    decode_into(encoding, chunk, t, t, &Looks::ALL, &mut ts, &mut found).is_ok()
        && found
            .iter()
            .any(|h| identity::of(encoding == INTEGER, h) == wanted)
}

const INTEGER: u8 = 2;

/// The open in-order chunk.
#[derive(Debug)]
pub struct OpenHistograms {
    pub chunk: OpenChunk,
    pub mint: i64,
    next_at: i64,
    /// Whether `next_at` was planned by the size of the chunk. A chunk that ends early leaves that to the one after it.
    planned: bool,
    /// Identity of the last histogram.
    pub last: u64,
}

#[derive(Debug, Default)]
pub struct SeriesHistograms {
    /// Some exactly when the last in-order sample of the series is a histogram.
    pub open: Option<OpenHistograms>,
    /// In-order chunks, ascending, without overlap.
    pub closed: Vec<HistogramChunk>,
    /// The open out-of-order chunk: ascending, unique times.
    pub ooo: Vec<(i64, Arc<Histogram>)>,
    /// Out-of-order chunks in the order they were closed; they overlap freely.
    pub ooo_closed: Vec<HistogramChunk>,
    /// So many of `ooo_closed` go into the blocks that are being cut.
    pub ooo_frozen: usize,
}

/// What an append added.
#[derive(Clone, Copy, Debug, Default)]
pub struct Growth {
    pub chunks: u64,
    pub bytes: i64,
}

impl SeriesHistograms {
    /// Append in order: `t` is later than all in-order samples of the series, and no float chunk is open.
    pub fn append(&mut self, t: i64, histogram: &Histogram, last: u64, range_ms: i64) -> Growth {
        let before = self.open_bytes();
        let mut bytes = 0;
        let chunks = match self.next_chunk(t, histogram, range_ms) {
            None => 0,
            Some((chunk, planned)) => {
                bytes += self.close();
                self.open = Some(OpenHistograms {
                    chunk,
                    mint: t,
                    next_at: range_end(t, range_ms),
                    planned,
                    last,
                });
                1
            }
        };
        if let Some(open) = &mut self.open {
            open.last = last;
        }
        bytes += self.open_bytes() - before;
        Growth { chunks, bytes }
    }

    /// Append to the open chunk, or give the one that takes its place, and whether its end counts as planned.
    fn next_chunk(
        &mut self,
        t: i64,
        histogram: &Histogram,
        range_ms: i64,
    ) -> Option<(OpenChunk, bool)> {
        let Some(open) = &mut self.open else {
            return Some((OpenChunk::start(t, histogram, None), false));
        };
        if !open.chunk.takes(histogram) {
            return Some((OpenChunk::start(t, histogram, None), false));
        }
        if open.is_full_at(t, range_ms) {
            return Some((OpenChunk::start(t, histogram, Some(&open.chunk)), false));
        }
        let planned = open.planned;
        open.chunk.append(t, histogram).map(|next| (next, planned))
    }

    pub fn open_bytes(&self) -> i64 {
        let open = self.open.as_ref();
        open.map_or(0, |open| open.chunk.memory_bytes() as i64)
    }

    /// Turn the open chunk into a closed one; the bytes it then has.
    fn close(&mut self) -> i64 {
        let Some(open) = self.open.take() else {
            return 0;
        };
        let data: Arc<[u8]> = open.chunk.to_bytes().into();
        let bytes = data.len() as i64;
        self.closed.push(HistogramChunk {
            encoding: open.chunk.encoding(),
            chunk: Chunk {
                mint: open.mint,
                maxt: open.chunk.t(),
                data,
            },
        });
        bytes
    }

    /// Close the open chunk, if there is one: a float follows. By how many bytes that changes what is held.
    pub fn close_open(&mut self) -> i64 {
        let before = self.open_bytes();
        self.close() - before
    }

    /// Identity of the histogram at `t` in the open out-of-order chunk.
    pub fn ooo_identity(&self, t: i64) -> Option<u64> {
        let at = self.ooo.binary_search_by_key(&t, |s| s.0).ok()?;
        Some(identity::of_histogram(&self.ooo[at].1))
    }

    /// Insert out of order, if no histogram has that time in the open chunk. None: nothing was inserted.
    pub fn insert_ooo(
        &mut self,
        t: i64,
        histogram: &Arc<Histogram>,
        samples_max: usize,
    ) -> Option<Growth> {
        let at = self.ooo.binary_search_by_key(&t, |s| s.0).err()?;
        let mut growth = Growth {
            chunks: u64::from(self.ooo.is_empty()),
            bytes: 0,
        };
        self.ooo.insert(at, (t, histogram.clone()));
        if self.ooo.len() >= samples_max {
            let closed = self.close_ooo();
            growth.chunks += closed.chunks;
            growth.bytes += closed.bytes;
        }
        Some(growth)
    }

    /// Turn the open out-of-order chunk, if there is one, into closed ones.
    pub fn close_ooo(&mut self) -> Growth {
        let samples = std::mem::take(&mut self.ooo);
        let chunks = chunks_of(samples.iter().map(|(t, h)| (*t, &**h)));
        let mut growth = Growth {
            // The open one was counted as one.
            chunks: (chunks.len() as u64).saturating_sub(1),
            bytes: 0,
        };
        for (encoding, mint, maxt, data) in chunks {
            growth.bytes += data.len() as i64;
            let data = data.into();
            let chunk = Chunk { mint, maxt, data };
            self.ooo_closed.push(HistogramChunk { encoding, chunk });
        }
        growth
    }

    /// Whether any chunk but the open out-of-order one has a histogram with this identity at `t`.
    pub fn holds(&self, t: i64, wanted: u64) -> bool {
        if let Some(open) = &self.open
            && open.mint <= t
            && t <= open.chunk.t()
            && has(open.chunk.encoding(), &open.chunk.to_bytes(), t, wanted)
        {
            return true;
        }
        let mut chunks = self.closed.iter().rev().chain(&self.ooo_closed);
        chunks.any(|chunk| chunk.has(t, wanted))
    }

    /// Whether there may be a histogram with mint <= t <= maxt, by the bounds of chunks.
    pub fn may_have(&self, mint: i64, maxt: i64) -> bool {
        let open = self.open.as_ref();
        let chunk = |c: &HistogramChunk| c.chunk.mint <= maxt && c.chunk.maxt >= mint;
        open.is_some_and(|open| open.mint <= maxt && open.chunk.t() >= mint)
            || self.closed.iter().any(chunk)
            || self.ooo_closed.iter().any(chunk)
            || self.ooo.iter().any(|s| mint <= s.0 && s.0 <= maxt)
    }
}

impl OpenHistograms {
    /// Whether a sample at `t` starts a new chunk. May plan the end of this one.
    fn is_full_at(&mut self, t: i64, range_ms: i64) -> bool {
        let bytes = self.chunk.byte_len();
        // Few samples make a chunk only where a range ends.
        let range_end = match self.planned {
            true => range_end(self.mint, range_ms),
            false => self.next_at,
        };
        if !self.planned && bytes >= CHUNK_BYTES / 4 {
            let ratio = CHUNK_BYTES as f64 / bytes as f64;
            self.next_at = planned_end(self.mint, self.chunk.t(), self.next_at, ratio);
            self.planned = true;
        }
        let full = t >= self.next_at || bytes >= 2 * CHUNK_BYTES;
        let enough = self.chunk.count() >= CHUNK_SAMPLES_MIN || t >= range_end;
        full && enough || self.chunk.count() == SAMPLES_MAX
    }
}
