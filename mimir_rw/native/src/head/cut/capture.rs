//! The chunks of some series, copied or shared while the table is locked.

use std::sync::Arc;

use super::{Part, Range};
use crate::block::ChunkRef;
use crate::head::histograms::HistogramChunk;
use crate::head::series::{Chunk, Extra, SeriesTable};

const XOR: u8 = 1;

enum Place {
    Shared(Arc<[u8]>),
    /// In `Capture::copied`.
    Copied(std::ops::Range<usize>),
}

pub struct Held {
    pub mint: i64,
    pub maxt: i64,
    pub encoding: u8,
    place: Place,
}

#[derive(Default)]
pub struct Capture {
    held: Vec<Held>,
    /// End of each series in `held`.
    ends: Vec<usize>,
    copied: Vec<u8>,
}

impl Capture {
    pub fn clear(&mut self) {
        self.held.clear();
        self.ends.clear();
        self.copied.clear();
    }

    /// Of the n-th series captured.
    pub fn chunks(&self, n: usize) -> &[Held] {
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        &self.held[start..self.ends[n]]
    }

    pub fn bytes<'a>(&'a self, held: &'a Held) -> &'a [u8] {
        match &held.place {
            Place::Shared(data) => data,
            Place::Copied(range) => &self.copied[range.clone()],
        }
    }

    /// The chunk as it is.
    pub fn chunk<'a>(&'a self, held: &'a Held) -> ChunkRef<'a> {
        ChunkRef {
            mint: held.mint,
            maxt: held.maxt,
            encoding: held.encoding,
            data: self.bytes(held),
        }
    }

    /// Take the chunks that overlap the range, ascending.
    pub fn series(&mut self, table: &SeriesTable, sid: u32, range: Range) {
        let start = self.held.len();
        match range.part {
            Part::InOrder => self.in_order(table, sid, range),
            Part::OutOfOrder => self.frozen(table.extra(sid), range),
        }
        self.held[start..].sort_by_key(|held| held.mint);
        self.ends.push(self.held.len());
    }

    fn in_order(&mut self, table: &SeriesTable, sid: u32, range: Range) {
        if let Some(extra) = table.extra(sid) {
            self.share(&extra.closed, range);
            if let Some(histograms) = &extra.histograms {
                self.share_histograms(&histograms.closed, range);
                if let Some(open) = &histograms.open
                    && range.overlaps(open.mint, open.chunk.t())
                {
                    let encoding = open.chunk.encoding();
                    let copy = |out: &mut Vec<u8>| open.chunk.copy_to(out);
                    self.copy(open.mint, open.chunk.t(), encoding, copy);
                }
            }
        }
        let open = table.open(sid);
        if open.xor.count > 0 && range.overlaps(open.mint, open.xor.t) {
            self.copy(open.mint, open.xor.t, XOR, |out| {
                out.extend_from_slice(&open.xor.count.to_be_bytes());
                let stream = &open.stream;
                table.blocks().copy_to(stream.head, stream.byte_len(), out);
            });
        }
    }

    fn frozen(&mut self, extra: Option<&Extra>, range: Range) {
        let Some(extra) = extra else {
            return;
        };
        self.share(&extra.ooo_closed[..extra.ooo_frozen], range);
        if let Some(histograms) = &extra.histograms {
            self.share_histograms(&histograms.ooo_closed[..histograms.ooo_frozen], range);
        }
    }

    fn share(&mut self, chunks: &[Chunk], range: Range) {
        let chunks = chunks.iter().filter(|c| range.overlaps(c.mint, c.maxt));
        self.held.extend(chunks.map(|chunk| shared(XOR, chunk)));
    }

    fn share_histograms(&mut self, chunks: &[HistogramChunk], range: Range) {
        let within = |c: &&HistogramChunk| range.overlaps(c.chunk.mint, c.chunk.maxt);
        let chunks = chunks.iter().filter(within);
        self.held
            .extend(chunks.map(|c| shared(c.encoding, &c.chunk)));
    }

    fn copy(&mut self, mint: i64, maxt: i64, encoding: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.copied.len();
        write(&mut self.copied);
        self.held.push(Held {
            mint,
            maxt,
            encoding,
            place: Place::Copied(start..self.copied.len()),
        });
    }
}

fn shared(encoding: u8, chunk: &Chunk) -> Held {
    Held {
        mint: chunk.mint,
        maxt: chunk.maxt,
        encoding,
        place: Place::Shared(chunk.data.clone()),
    }
}

/// Whether the series has a chunk that overlaps the range.
pub fn has_any(table: &SeriesTable, sid: u32, range: Range) -> bool {
    let floats = |c: &Chunk| range.overlaps(c.mint, c.maxt);
    let histograms = |c: &HistogramChunk| range.overlaps(c.chunk.mint, c.chunk.maxt);
    let extra = table.extra(sid);
    let of_histograms = extra.and_then(|extra| extra.histograms.as_deref());
    match range.part {
        Part::InOrder => {
            let open = table.open(sid);
            open.xor.count > 0 && range.overlaps(open.mint, open.xor.t)
                || extra.is_some_and(|extra| extra.closed.iter().any(floats))
                || of_histograms.is_some_and(|h| {
                    let open = h.open.as_ref();
                    open.is_some_and(|open| range.overlaps(open.mint, open.chunk.t()))
                        || h.closed.iter().any(histograms)
                })
        }
        Part::OutOfOrder => {
            extra.is_some_and(|extra| extra.ooo_closed[..extra.ooo_frozen].iter().any(floats))
                || of_histograms.is_some_and(|h| {
                    let frozen = h.ooo_closed[..h.ooo_frozen].iter();
                    frozen.into_iter().any(histograms)
                })
        }
    }
}
