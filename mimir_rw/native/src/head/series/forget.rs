//! Forgetting what blocks have: chunks first, some series at a time; series that are left without samples are another
//! step (rebuild.rs).

use std::ops::Range;

use super::{Chunk, Extra, SeriesTable};
use crate::codec::xor::XorState;
use crate::head::histograms::{HistogramChunk, SeriesHistograms};

/// What a series lost.
#[derive(Default)]
struct Lost {
    chunks: u64,
    bytes: u64,
    histogram_bytes: i64,
}

impl SeriesTable {
    /// Drop the in-order chunks of these series that end before `mint`.
    pub fn forget_before(&mut self, sids: Range<u32>, mint: i64) {
        for sid in sids {
            let open = &mut self.open[sid as usize];
            if open.xor.count > 0 && open.xor.t < mint {
                self.blocks.release(&mut open.stream);
                open.xor = XorState::default();
                self.chunks -= 1;
            }
            if let Some(extra) = self.extras.get_mut(open.extra as usize) {
                let lost = extra.forget_before(mint);
                self.count_lost(lost);
            }
        }
    }

    /// Close the out-of-order chunks of these series and mark all that there are: blocks with them are about to be
    /// written.
    pub fn freeze_ooo(&mut self, sids: Range<u32>) {
        for sid in sids {
            if self.extra(sid).is_none() {
                continue;
            }
            if self.extra(sid).is_some_and(|extra| !extra.ooo.is_empty()) {
                self.close_ooo(sid);
            }
            let extra = self.extra_mut(sid);
            extra.ooo_frozen = extra.ooo_closed.len();
            if let Some(histograms) = &mut extra.histograms {
                let grown = histograms.close_ooo();
                histograms.ooo_frozen = histograms.ooo_closed.len();
                self.chunks += grown.chunks;
                self.histogram_bytes += grown.bytes;
            }
        }
    }

    /// Drop the out-of-order chunks of these series that were marked.
    pub fn forget_frozen_ooo(&mut self, sids: Range<u32>) {
        for sid in sids {
            let at = self.open[sid as usize].extra as usize;
            if let Some(extra) = self.extras.get_mut(at) {
                let lost = extra.forget_frozen();
                self.count_lost(lost);
            }
        }
    }

    fn count_lost(&mut self, lost: Lost) {
        self.chunks -= lost.chunks;
        self.closed_bytes -= lost.bytes;
        self.histogram_bytes -= lost.histogram_bytes;
    }

    /// Whether there is any chunk of the series.
    pub fn has_samples(&self, sid: u32) -> bool {
        self.open[sid as usize].xor.count > 0
            || self.extra(sid).is_some_and(|extra| !extra.is_empty())
    }

    /// Whether the newest sample of the series, in order, is before `t`.
    pub fn ended_before(&self, sid: u32, t: i64) -> bool {
        let last = self.last(sid);
        !last.any || last.t < t
    }

    /// Oldest sample in order and out of order by the bounds of chunks; `i64::MAX`: none.
    pub fn oldest_of(&self, sid: u32) -> (i64, i64) {
        let open = &self.open[sid as usize];
        let first = match open.xor.count {
            0 => i64::MAX,
            _ => open.mint,
        };
        match self.extra(sid) {
            None => (first, i64::MAX),
            Some(extra) => (first.min(extra.oldest()), extra.ooo_oldest()),
        }
    }

    /// Find the oldest samples anew, after some were dropped. What is older than the floor is in blocks.
    pub fn renew_extent(&mut self) {
        let oldest = (0..self.len() as u32).map(|sid| self.oldest_of(sid));
        let (mint, ooo_mint) = oldest.fold((i64::MAX, i64::MAX), |all, one| {
            (all.0.min(one.0), all.1.min(one.1))
        });
        self.mint = mint.max(self.floor);
        self.ooo_mint = ooo_mint;
        if mint == i64::MAX {
            self.mint = i64::MAX;
        }
    }
}

impl Extra {
    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty()
            && self.ooo.is_empty()
            && self.ooo_closed.is_empty()
            && self.histograms.as_ref().is_none_or(|h| h.is_empty())
    }

    fn oldest(&self) -> i64 {
        let histograms = self.histograms.as_ref();
        let floats = self.closed.first().map_or(i64::MAX, |chunk| chunk.mint);
        floats.min(histograms.map_or(i64::MAX, |h| h.oldest()))
    }

    fn ooo_oldest(&self) -> i64 {
        let closed = self.ooo_closed.iter().map(|chunk| chunk.mint);
        let open = self.ooo.first().map(|sample| sample.0);
        let histograms = self.histograms.as_ref().map(|h| h.ooo_oldest());
        let all = closed.chain(open).chain(histograms);
        all.min().unwrap_or(i64::MAX)
    }

    fn forget_before(&mut self, mint: i64) -> Lost {
        let old = self.closed.partition_point(|chunk| chunk.maxt < mint);
        let mut lost = lost_floats(&mut self.closed, old);
        if let Some(histograms) = &mut self.histograms {
            let (chunks, bytes) = histograms.forget_before(mint);
            lost.chunks += chunks;
            lost.histogram_bytes = bytes;
        }
        lost
    }

    fn forget_frozen(&mut self) -> Lost {
        let frozen = std::mem::take(&mut self.ooo_frozen);
        let mut lost = lost_floats(&mut self.ooo_closed, frozen);
        if let Some(histograms) = &mut self.histograms {
            let frozen = std::mem::take(&mut histograms.ooo_frozen);
            let (chunks, bytes) = drop_first(&mut histograms.ooo_closed, frozen);
            lost.chunks += chunks;
            lost.histogram_bytes = bytes;
        }
        lost
    }
}

impl SeriesHistograms {
    fn is_empty(&self) -> bool {
        self.open.is_none()
            && self.closed.is_empty()
            && self.ooo.is_empty()
            && self.ooo_closed.is_empty()
    }

    fn oldest(&self) -> i64 {
        let closed = self.closed.first().map(|c| c.chunk.mint);
        let open = self.open.as_ref().map(|open| open.mint);
        closed.or(open).unwrap_or(i64::MAX)
    }

    fn ooo_oldest(&self) -> i64 {
        let closed = self.ooo_closed.iter().map(|c| c.chunk.mint);
        let open = self.ooo.first().map(|sample| sample.0);
        closed.chain(open).min().unwrap_or(i64::MAX)
    }

    /// Drop the in-order chunks that end before `mint`; how many, and their bytes.
    fn forget_before(&mut self, mint: i64) -> (u64, i64) {
        let old = self.closed.partition_point(|c| c.chunk.maxt < mint);
        let (mut chunks, mut bytes) = drop_first(&mut self.closed, old);
        if self.open.as_ref().is_some_and(|o| o.chunk.t() < mint) {
            chunks += 1;
            bytes += self.open_bytes();
            self.open = None;
        }
        (chunks, bytes)
    }
}

fn lost_floats(chunks: &mut Vec<Chunk>, count: usize) -> Lost {
    let bytes = chunks.drain(..count).map(|c| c.data.len() as u64).sum();
    chunks.shrink_to_fit();
    Lost {
        chunks: count as u64,
        bytes,
        histogram_bytes: 0,
    }
}

fn drop_first(chunks: &mut Vec<HistogramChunk>, count: usize) -> (u64, i64) {
    let dropped = chunks.drain(..count);
    let bytes = dropped.map(|c| c.chunk.data.len() as i64).sum();
    chunks.shrink_to_fit();
    (count as u64, bytes)
}
