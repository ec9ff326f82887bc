//! The series table: identities, append state and chunks of every series of one tenant.
//!
//! Columns, not objects: a series is a number (`sid`, dense from 0). What an append touches (`Open`) fills one cache
//! line per series; what few series have (closed chunks, out-of-order samples, histograms) lives in `Extra`.

mod forget;
mod rebuild;

use std::sync::Arc;

pub use rebuild::{Discarded, Rebuild};

use super::blocks::{BlockSink, BlockStream, Blocks};
use super::exemplars::Exemplars;
use super::histograms::{Growth, SeriesHistograms};
use super::lookup::{BLOCK, HashLookup};
use super::owned::{Owned, TokenRanges};
use super::postings::{HashKey, LabelIndex, put_canonical};
use crate::codec::xor::{XorState, chunk_of, decode_into};
use crate::histogram::Histogram;
use crate::wire::series::SeriesHasher;

/// Usual length of the time ranges at which chunks are cut (tsdb-block.md 14).
pub const CHUNK_RANGE_MS: i64 = 2 * 3600 * 1000;
const CHUNK_BYTES_CUT: usize = 1005;
const CHUNK_SAMPLES: u16 = 120;
/// Usual bound of the samples in an out-of-order chunk.
pub const OOO_SAMPLES_MAX: usize = 32;

/// A closed chunk; its bytes begin with the sample count.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub mint: i64,
    pub maxt: i64,
    pub data: Arc<[u8]>,
}

/// The open in-order float chunk of a series. `xor.count` is 0 when the last in-order sample is a histogram, or there is
/// none.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub xor: XorState,
    pub mint: i64,
    next_at: i64,
    pub stream: BlockStream,
    extra: u32,
}

const NO_EXTRA: u32 = u32::MAX;

impl Open {
    fn new() -> Self {
        Open {
            xor: XorState::default(),
            mint: 0,
            next_at: 0,
            stream: BlockStream::default(),
            extra: NO_EXTRA,
        }
    }
}

#[derive(Debug, Default)]
pub struct Extra {
    /// In-order chunks, ascending, without overlap.
    pub closed: Vec<Chunk>,
    /// The open out-of-order chunk: ascending, unique times.
    pub ooo: Vec<(i64, u64)>,
    /// Out-of-order chunks in the order they were closed; they overlap freely.
    pub ooo_closed: Vec<Chunk>,
    /// So many of `ooo_closed` go into the blocks that are being cut.
    pub ooo_frozen: usize,
    pub histograms: Option<Box<SeriesHistograms>>,
}

/// The last in-order sample of a series.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    pub any: bool,
    pub t: i64,
    /// Bits of a float, identity of a histogram.
    pub v: u64,
}

pub const NEVER: Last = Last {
    any: false,
    t: 0,
    v: 0,
};

pub struct SeriesTable {
    ooo_samples_max: usize,
    /// Length of the ranges at which chunks end, that of the blocks.
    range_ms: i64,
    pub labels: LabelIndex,
    hashes: Vec<u128>,
    by_hash: HashLookup,
    tokens: Vec<u32>,
    /// None: all series are owned.
    owned: Option<Owned>,
    open: Vec<Open>,
    extras: Vec<Extra>,
    blocks: Blocks,
    /// Reference of each series when they are not `sid + 1` (a log with gaps was replayed).
    sparse_refs: Option<Vec<u64>>,
    ref_max: u64,
    pub series_created: u64,
    pub series_removed: u64,
    /// Changes of key so far.
    rekeyed: u64,
    /// In order, no sample before this time is accepted: blocks have what there was, or are about to.
    floor: i64,
    /// The same while a block is being cut; `i64::MIN` else.
    frozen: i64,
    /// Oldest sample in order.
    pub mint: i64,
    /// Oldest sample out of order.
    pub ooo_mint: i64,
    pub maxt: i64,
    pub samples_appended: u64,
    pub ooo_appended: u64,
    /// Histograms among the samples appended.
    pub histograms_appended: u64,
    pub chunks: u64,
    pub closed_bytes: u64,
    /// Of histogram chunks, open and closed.
    histogram_bytes: i64,
    pub exemplars: Exemplars,
}

impl SeriesTable {
    /// ooo_samples_max: samples at which an out-of-order chunk is closed. range_ms: at whose multiples chunks end.
    pub fn new(key: HashKey, ooo_samples_max: usize, range_ms: i64) -> Self {
        SeriesTable {
            ooo_samples_max,
            range_ms,
            labels: LabelIndex::new(key),
            hashes: Vec::new(),
            by_hash: HashLookup::default(),
            tokens: Vec::new(),
            owned: None,
            open: Vec::new(),
            extras: Vec::new(),
            blocks: Blocks::default(),
            sparse_refs: None,
            ref_max: 0,
            series_created: 0,
            series_removed: 0,
            rekeyed: 0,
            floor: i64::MIN,
            frozen: i64::MIN,
            mint: i64::MAX,
            ooo_mint: i64::MAX,
            maxt: i64::MIN,
            samples_appended: 0,
            ooo_appended: 0,
            histograms_appended: 0,
            chunks: 0,
            closed_bytes: 0,
            histogram_bytes: 0,
            exemplars: Exemplars::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn open(&self, sid: u32) -> &Open {
        &self.open[sid as usize]
    }

    pub fn extra(&self, sid: u32) -> Option<&Extra> {
        self.extras.get(self.open[sid as usize].extra as usize)
    }

    pub fn histograms(&self, sid: u32) -> Option<&SeriesHistograms> {
        self.extra(sid)?.histograms.as_deref()
    }

    #[inline]
    pub fn last(&self, sid: u32) -> Last {
        let xor = &self.open[sid as usize].xor;
        match xor.count {
            0 => self.last_histogram(sid),
            _ => Last {
                any: true,
                t: xor.t,
                v: xor.v,
            },
        }
    }

    #[cold]
    fn last_histogram(&self, sid: u32) -> Last {
        let open = self.histograms(sid).and_then(|h| h.open.as_ref());
        open.map_or(NEVER, |open| Last {
            any: true,
            t: open.chunk.t(),
            v: open.last,
        })
    }

    pub fn token(&self, sid: u32) -> u32 {
        self.tokens[sid as usize]
    }

    /// Number of owned series of a metric.
    pub fn metric_series(&self, metric: &str) -> u64 {
        let labels = &self.labels;
        let pair = labels
            .find_name("__name__")
            .and_then(|name| labels.find_pair(name, metric));
        let series = pair.map_or(&[][..], |pair| labels.series_of(pair));
        match &self.owned {
            None => series.len() as u64,
            Some(owned) => series.iter().filter(|&&sid| owned.has(sid)).count() as u64,
        }
    }

    /// Count the owned series by these ranges of tokens from now on.
    pub fn set_owned_ranges(&mut self, ranges: Option<TokenRanges>) {
        self.owned = ranges.map(|ranges| Owned::new(ranges, &self.tokens));
    }

    pub fn owned_count(&self) -> u64 {
        self.owned
            .as_ref()
            .map_or(self.len() as u64, |owned| owned.count)
    }

    /// Whether a series with this token is, or would be, an owned one.
    pub fn owns(&self, token: u32) -> bool {
        self.owned
            .as_ref()
            .is_none_or(|owned| owned.ranges.contains(token))
    }

    pub fn count_in(&self, ranges: &TokenRanges) -> u64 {
        self.tokens
            .iter()
            .filter(|&&token| ranges.contains(token))
            .count() as u64
    }

    /// Every series' hash under another key.
    pub fn hashes_with(&self, hasher: &SeriesHasher) -> Vec<u128> {
        let mut canonical = Vec::new();
        let hash = |sid| {
            canonical.clear();
            for (name, value) in self.labels.labels(sid) {
                put_canonical(&mut canonical, name, value);
            }
            hasher.hash(&canonical)
        };
        (0..self.len() as u32).map(hash).collect()
    }

    /// Find series by these hashes from now on, one per series.
    pub fn set_hashes(&mut self, hashes: Vec<u128>) {
        assert_eq!(hashes.len(), self.len(), "a hash per series");
        self.by_hash = HashLookup::of(&hashes);
        self.hashes = hashes;
        self.rekeyed += 1;
    }

    pub fn range_ms(&self) -> i64 {
        self.range_ms
    }

    /// Before this time nothing is accepted in order.
    pub fn floor(&self) -> i64 {
        self.floor.max(self.frozen)
    }

    /// Before this time blocks have everything in order.
    pub fn stored_floor(&self) -> i64 {
        self.floor
    }

    /// Blocks have all in-order samples before this time.
    pub fn raise_floor(&mut self, floor: i64) {
        self.floor = self.floor.max(floor);
    }

    /// Accept nothing in order before this time until it is said again; `i64::MIN`: as before.
    pub fn freeze(&mut self, before: i64) {
        self.frozen = before;
    }

    /// Oldest and newest sample, if there are any.
    pub fn extent(&self) -> Option<(i64, i64)> {
        let oldest = self.mint.min(self.ooo_mint);
        (oldest <= self.maxt).then_some((oldest, self.maxt))
    }

    /// Whether all samples are within mint..=maxt.
    pub fn is_within(&self, mint: i64, maxt: i64) -> bool {
        self.extent()
            .is_none_or(|(oldest, newest)| mint <= oldest && maxt >= newest)
    }

    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The series with this hash.
    pub fn find(&self, hash: u128) -> Option<u32> {
        self.by_hash.find(hash, &self.hashes)
    }

    /// The series of many hashes, `unknown` for those that are not here. Scrapes repeat their order, so the series
    /// after the last one found is tried first.
    pub fn find_all(&self, wanted: &[u128], unknown: u32, found: &mut Vec<u32>) {
        let mut rest = wanted;
        let mut guess = 0;
        while let Some(&hash) = rest.first() {
            if self.hashes.get(guess as usize) == Some(&hash) {
                found.push(guess);
                guess += 1;
                rest = &rest[1..];
                continue;
            }
            let (block, after) = rest.split_at(rest.len().min(BLOCK));
            self.by_hash.find_block(block, &self.hashes, unknown, found);
            guess = found.last().map_or(0, |sid| sid.wrapping_add(1));
            rest = after;
        }
    }

    /// Read the append states of series that are about to be used, so that the loads overlap. The sum means nothing;
    /// it keeps the loads from being dropped.
    pub fn touch_states(&self, sids: impl Iterator<Item = u32>) -> u64 {
        let states = sids.filter_map(|sid| self.open.get(sid as usize));
        states.fold(0, |sum, open| sum.wrapping_add(open.xor.v))
    }

    /// The same for the blocks that appends to these series will write to.
    pub fn touch_blocks(&self, sids: impl Iterator<Item = u32>) -> u64 {
        let states = sids.filter_map(|sid| self.open.get(sid as usize));
        states.fold(0, |sum, open| {
            sum.wrapping_add(self.blocks.touch(&open.stream))
        })
    }

    /// The log's reference of a series.
    #[inline]
    pub fn ref_of(&self, sid: u32) -> u64 {
        match &self.sparse_refs {
            None => u64::from(sid) + 1,
            Some(refs) => refs[sid as usize],
        }
    }

    /// Reference that the n-th next series (from 0) will get.
    pub fn next_ref(&self, n: usize) -> u64 {
        self.ref_max + 1 + n as u64
    }

    pub fn ref_max(&self) -> u64 {
        self.ref_max
    }

    /// References up to this one are never given out again.
    pub fn raise_ref_max(&mut self, seen: u64) {
        self.ref_max = self.ref_max.max(seen);
    }

    /// Add a series under a reference above all others. `labels` ascend by name.
    pub fn create<'a>(
        &mut self,
        reference: u64,
        hash: u128,
        token: u32,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> u32 {
        let sid = self.labels.push(labels);
        if reference != u64::from(sid) + 1 && self.sparse_refs.is_none() {
            self.sparse_refs = Some((1..=u64::from(sid)).collect());
        }
        if let Some(refs) = &mut self.sparse_refs {
            refs.push(reference);
        }
        self.raise_ref_max(reference);
        self.series_created += 1;
        self.hashes.push(hash);
        self.tokens.push(token);
        if let Some(owned) = &mut self.owned {
            owned.push(sid, token);
        }
        self.open.push(Open::new());
        self.by_hash.push(&self.hashes);
        sid
    }

    /// Append in order: `t` is later than all in-order samples of the series.
    #[inline]
    pub fn append(&mut self, sid: u32, t: i64, v: u64) {
        let range = self.range_ms;
        let open = &mut self.open[sid as usize];
        if open.xor.count == 0 {
            open.mint = t;
            open.next_at = range_end(t, range);
            self.chunks += 1;
            if open.extra != NO_EXTRA {
                self.close_open_histograms(sid);
            }
        } else if must_cut(open, t) {
            self.close_open(sid);
            let open = &mut self.open[sid as usize];
            open.mint = t;
            open.next_at = range_end(t, range);
            self.chunks += 1;
        }
        let open = &mut self.open[sid as usize];
        let mut sink = BlockSink {
            blocks: &mut self.blocks,
            stream: &mut open.stream,
        };
        open.xor.append(&mut sink, t, v);
        self.samples_appended += 1;
        self.mint = self.mint.min(t);
        self.maxt = self.maxt.max(t);
    }

    /// Turn the open chunk into a closed one; the append state is as new.
    fn close_open(&mut self, sid: u32) {
        let open = &mut self.open[sid as usize];
        let len = open.stream.byte_len();
        let mut data = Vec::with_capacity(len + 2);
        data.extend_from_slice(&open.xor.count.to_be_bytes());
        self.blocks.copy_to(open.stream.head, len, &mut data);
        self.blocks.release(&mut open.stream);
        self.closed_bytes += data.len() as u64;
        let chunk = Chunk {
            mint: open.mint,
            maxt: open.xor.t,
            data: data.into(),
        };
        open.xor = XorState::default();
        self.extra_mut(sid).closed.push(chunk);
    }

    /// Append in order: `t` is later than all in-order samples of the series. `last`: the histogram's identity.
    pub fn append_histogram(&mut self, sid: u32, t: i64, histogram: &Histogram, last: u64) {
        if self.open[sid as usize].xor.count > 0 {
            self.close_open(sid);
        }
        let range = self.range_ms;
        let growth = self.histograms_mut(sid).append(t, histogram, last, range);
        self.histogram_appended(t, growth);
        self.mint = self.mint.min(t);
    }

    fn histogram_appended(&mut self, t: i64, growth: Growth) {
        self.chunks += growth.chunks;
        self.histogram_bytes += growth.bytes;
        self.samples_appended += 1;
        self.histograms_appended += 1;
        self.maxt = self.maxt.max(t);
    }

    #[cold]
    fn close_open_histograms(&mut self, sid: u32) {
        if let Some(histograms) = &mut self.extra_mut(sid).histograms {
            let bytes = histograms.close_open();
            self.histogram_bytes += bytes;
        }
    }

    fn histograms_mut(&mut self, sid: u32) -> &mut SeriesHistograms {
        let histograms = &mut self.extra_mut(sid).histograms;
        histograms.get_or_insert_default()
    }

    fn extra_mut(&mut self, sid: u32) -> &mut Extra {
        let open = &mut self.open[sid as usize];
        if open.extra == NO_EXTRA {
            open.extra = self.extras.len() as u32;
            self.extras.push(Extra::default());
        }
        &mut self.extras[open.extra as usize]
    }

    /// Value bits, or a histogram's identity, at `t` in the open out-of-order chunks.
    pub fn ooo_value(&self, sid: u32, t: i64) -> Option<u64> {
        let extra = self.extra(sid)?;
        match extra.ooo.binary_search_by_key(&t, |s| s.0) {
            Ok(at) => Some(extra.ooo[at].1),
            Err(_) => extra.histograms.as_ref()?.ooo_identity(t),
        }
    }

    /// Whether a closed chunk or the open in-order chunk has this very sample. Chunks that do not decode have none.
    ///
    /// Asked for samples out of order only: what is sent again, after an answer that was lost or a refusal elsewhere,
    /// would be stored again each time.
    pub fn holds(&self, sid: u32, t: i64, v: u64) -> bool {
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        let mut has = |chunk: &[u8]| {
            ts.clear();
            values.clear();
            decode_into(chunk, t, t, &mut ts, &mut values).is_ok()
                && values.iter().any(|value| value.to_bits() == v)
        };
        let open = self.open(sid);
        if open.xor.count > 0 && open.mint <= t && t <= open.xor.t {
            let mut chunk = open.xor.count.to_be_bytes().to_vec();
            self.blocks()
                .copy_to(open.stream.head, open.stream.byte_len(), &mut chunk);
            if has(&chunk) {
                return true;
            }
        }
        let Some(extra) = self.extra(sid) else {
            return false;
        };
        let mut chunks = extra.closed.iter().rev().chain(extra.ooo_closed.iter());
        chunks.any(|c| c.mint <= t && t <= c.maxt && has(&c.data))
    }

    /// As `holds`, of a histogram with this identity.
    pub fn holds_histogram(&self, sid: u32, t: i64, identity: u64) -> bool {
        self.histograms(sid).is_some_and(|h| h.holds(t, identity))
    }

    /// Insert out of order. A histogram at a time that the open out-of-order chunk has is ignored.
    pub fn insert_ooo_histogram(&mut self, sid: u32, t: i64, histogram: &Arc<Histogram>) {
        let samples_max = self.ooo_samples_max;
        let inserted = self
            .histograms_mut(sid)
            .insert_ooo(t, histogram, samples_max);
        if let Some(growth) = inserted {
            self.histogram_appended(t, growth);
            self.ooo_mint = self.ooo_mint.min(t);
            self.ooo_appended += 1;
        }
    }

    /// Insert out of order. A sample at a time that the open out-of-order chunk has is ignored.
    pub fn insert_ooo(&mut self, sid: u32, t: i64, v: u64) {
        let samples_max = self.ooo_samples_max;
        let extra = self.extra_mut(sid);
        let Err(at) = extra.ooo.binary_search_by_key(&t, |s| s.0) else {
            return;
        };
        let mut opened = 0;
        if extra.ooo.is_empty() {
            opened = 1;
        }
        extra.ooo.insert(at, (t, v));
        if extra.ooo.len() >= samples_max {
            self.close_ooo(sid);
        }
        self.chunks += opened;
        self.samples_appended += 1;
        self.ooo_appended += 1;
        self.ooo_mint = self.ooo_mint.min(t);
        self.maxt = self.maxt.max(t);
    }

    /// Turn the open out-of-order chunk of floats, which is not empty, into a closed one.
    fn close_ooo(&mut self, sid: u32) {
        let extra = self.extra_mut(sid);
        let samples = std::mem::take(&mut extra.ooo);
        let chunk = encode_chunk(&samples);
        let bytes = chunk.data.len() as u64;
        extra.ooo_closed.push(chunk);
        self.closed_bytes += bytes;
    }

    /// Whether the series may have a sample with mint <= t <= maxt, by the bounds of its chunks.
    pub fn may_have(&self, sid: u32, mint: i64, maxt: i64) -> bool {
        let open = &self.open[sid as usize];
        if open.xor.count > 0 && open.mint <= maxt && open.xor.t >= mint {
            return true;
        }
        let Some(extra) = self.extra(sid) else {
            return false;
        };
        let chunk = |c: &Chunk| c.mint <= maxt && c.maxt >= mint;
        extra.closed.iter().any(chunk)
            || extra.ooo_closed.iter().any(chunk)
            || extra.ooo.iter().any(|s| mint <= s.0 && s.0 <= maxt)
            || extra
                .histograms
                .as_ref()
                .is_some_and(|h| h.may_have(mint, maxt))
    }

    /// Bytes held, roughly: columns, blocks, chunks, index.
    pub fn memory_bytes(&self) -> usize {
        self.labels.memory_bytes()
            + self.blocks.memory_bytes()
            + self.open.capacity() * size_of::<Open>()
            + self.hashes.capacity() * 16
            + self.by_hash.memory_bytes()
            + self.tokens.capacity() * 4
            + self.extras.capacity() * size_of::<Extra>()
            + self.closed_bytes as usize
            + self.histogram_bytes.max(0) as usize
            + self.exemplars.memory_bytes()
    }
}

/// End of the range of this length that `t` is in.
pub fn range_end(t: i64, range_ms: i64) -> i64 {
    (t / range_ms)
        .saturating_mul(range_ms)
        .saturating_add(range_ms)
}

/// Whether a sample at `t` starts a new chunk. May move the planned end of the open one.
#[inline]
fn must_cut(open: &mut Open, t: i64) -> bool {
    if open.stream.byte_len() + 2 > CHUNK_BYTES_CUT {
        return true;
    }
    if open.xor.count == CHUNK_SAMPLES / 4 {
        open.next_at = planned_end(open.mint, open.xor.t, open.next_at, 4.0);
    }
    t >= open.next_at || open.xor.count >= 2 * CHUNK_SAMPLES
}

/// Spread the rest of the range evenly over full chunks, judged by the part of one that is there; `ratio`: how many such
/// parts make a full one.
pub fn planned_end(start: i64, current: i64, end: i64, ratio: f64) -> i64 {
    let span = end.wrapping_sub(start) as f64;
    let n = span / ((current.wrapping_sub(start).wrapping_add(1)) as f64 * ratio);
    if n <= 1.0 {
        return end;
    }
    (start as f64 + span / n.floor()) as i64
}

fn encode_chunk(samples: &[(i64, u64)]) -> Chunk {
    Chunk {
        mint: samples.first().map_or(0, |s| s.0),
        maxt: samples.last().map_or(0, |s| s.0),
        data: chunk_of(samples).into(),
    }
}

const _: () = assert!(size_of::<Open>() == 64);
