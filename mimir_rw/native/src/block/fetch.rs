//! Series and chunks of a block in a bucket: which bytes to fetch, and what is in them.
//!
//! How long a series or a chunk is stands in its first bytes. So the first round asks for as much as most take, and a
//! second for the whole of those that are longer. Ranges near one another are fetched as one.

use std::ops::Range;
use std::sync::Arc;

use super::BlockError;
use super::header::IndexHeader;
use super::layout::{CRC_BYTES, SEGMENT_HEADER_BYTES, SERIES_ALIGN};
use super::plan::Plan;
use super::postings;
use super::rows::{Selected, SeriesRows};
use super::segments::{CHUNK_OVERHEAD_MAX, split};
use super::series::{self, SeriesEntry};
use super::table::ListSpan;
use crate::bytes::Bytes;
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, VARINT_BYTES_MAX};
use crate::series_set::encoded::{EncodedSet, SetBuilder};

/// What most series take.
const SERIES_GUESS: u64 = 512;
/// What most chunks take: 120 floats, 1 KiB where values share nothing.
const CHUNK_GUESS: u64 = 1 << 10;

/// Bytes start..end of file `file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileRange {
    pub file: u32,
    pub start: u64,
    pub end: u64,
}

/// Join ascending ranges that lie less than `gap` apart.
pub fn coalesce(ranges: impl Iterator<Item = FileRange>, gap: u64) -> Vec<FileRange> {
    let mut joined: Vec<FileRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last)
                if last.file == range.file && range.start <= last.end.saturating_add(gap) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Buffers that were fetched for ranges.
pub struct Fetched<'a> {
    ranges: &'a [FileRange],
    buffers: &'a [Bytes],
}

impl<'a> Fetched<'a> {
    pub fn new(ranges: &'a [FileRange], buffers: &'a [Bytes]) -> Result<Self, Damaged> {
        let whole =
            |(range, buffer): (&FileRange, &Bytes)| buffer.len() as u64 == range.end - range.start;
        match ranges.len() == buffers.len() && ranges.iter().zip(buffers).all(whole) {
            true => Ok(Fetched { ranges, buffers }),
            false => Err(Damaged("what was fetched is not what was asked for")),
        }
    }

    /// What there is from a place on.
    fn from(&self, file: u32, start: u64) -> &'a [u8] {
        let after = self
            .ranges
            .partition_point(|range| (range.file, range.start) <= (file, start));
        let Some(at) = after.checked_sub(1) else {
            return &[];
        };
        let range = &self.ranges[at];
        if range.file != file || start >= range.end {
            return &[];
        }
        &self.buffers[at][(start - range.start) as usize..]
    }
}

pub fn list_ranges(spans: &[ListSpan], gap: u64) -> Vec<FileRange> {
    let range = |span: &ListSpan| FileRange {
        file: 0,
        start: span.start,
        end: span.end,
    };
    coalesce(spans.iter().map(range), gap)
}

/// The ids that the postings of a plan give, from fetched lists.
pub fn resolve(plan: &Plan, fetched: &Fetched<'_>) -> Result<Vec<u32>, BlockError> {
    plan.resolve(|span, ids| {
        let bytes = fetched.from(0, span.start);
        let read = postings::decode(bytes, ids);
        read.map_err(|what| in_index(span.start, what))
    })
}

fn in_index(at: u64, what: Damaged) -> BlockError {
    BlockError::Damaged(format!("index at byte {at}: {what}"))
}

/// Series under way.
pub struct SeriesFetch {
    header: Arc<IndexHeader>,
    plan: Arc<Plan>,
    rows: SeriesRows,
    /// Place of each series that is not read yet, and how much to fetch of it.
    pending: Vec<(u64, u64)>,
    gap: u64,
    ranges: Vec<FileRange>,
}

impl SeriesFetch {
    /// ids: ascending.
    pub fn new(
        header: Arc<IndexHeader>,
        plan: Arc<Plan>,
        ids: &[u32],
        (mint, maxt): (i64, i64),
        gap: u64,
    ) -> Result<Self, BlockError> {
        let section = header.toc.series..header.toc.series_end();
        let mut pending = Vec::with_capacity(ids.len());
        for &id in ids {
            let at = u64::from(id) * SERIES_ALIGN;
            if !section.contains(&at) || pending.last().is_some_and(|&(before, _)| before >= at) {
                return Err(in_index(at, Damaged("a series is not where series are")));
            }
            pending.push((at, SERIES_GUESS));
        }
        let mut fetch = SeriesFetch {
            header,
            plan,
            rows: SeriesRows::new(mint, maxt),
            pending,
            gap,
            ranges: Vec::new(),
        };
        fetch.ask();
        Ok(fetch)
    }

    fn ask(&mut self) {
        let end = self.header.toc.series_end();
        let range = |&(at, bytes): &(u64, u64)| FileRange {
            file: 0,
            start: at,
            end: at.saturating_add(bytes).min(end),
        };
        self.ranges = coalesce(self.pending.iter().map(range), self.gap);
    }

    pub fn ranges(&self) -> &[FileRange] {
        &self.ranges
    }

    pub fn add(&mut self, buffers: &[Bytes]) -> Result<(), BlockError> {
        let fetched = Fetched::new(&self.ranges, buffers)?;
        let end = self.header.toc.series_end();
        let mut entry = SeriesEntry::default();
        let mut missing = Vec::new();
        for &(at, asked) in &self.pending {
            let bytes = fetched.from(0, at);
            match read_series(bytes, at, &mut entry).map_err(|what| in_index(at, what))? {
                None => self.rows.push(&entry),
                Some(needed) if needed > asked && needed <= end - at => missing.push((at, needed)),
                Some(_) => {
                    let what = Damaged("a series reaches beyond its section");
                    return Err(in_index(at, what));
                }
            }
        }
        self.pending = missing;
        self.ask();
        Ok(())
    }

    pub fn finish(self) -> Result<Selected, BlockError> {
        match self.pending.is_empty() {
            true => self.rows.finish(&self.header.symbols, &self.plan.filters),
            false => Err(Damaged("not all series were fetched").into()),
        }
    }
}

/// Read the entry at the beginning of `bytes`. Some: it takes so many, more than there are.
fn read_series(bytes: &[u8], at: u64, entry: &mut SeriesEntry) -> Result<Option<u64>, Damaged> {
    let mut cursor = Cursor::new(bytes);
    let len = match cursor.uvarint() {
        Ok(len) => len,
        Err(_) if bytes.len() < VARINT_BYTES_MAX => return Ok(Some(SERIES_GUESS + 1)),
        Err(error) => return Err(error),
    };
    let head = (bytes.len() - cursor.remaining()) as u64;
    if len.saturating_add(CRC_BYTES) > cursor.remaining() as u64 {
        return Ok(Some(len.saturating_add(head + CRC_BYTES)));
    }
    let body = cursor.bytes(len as usize)?;
    if crc32c::crc32c(body).to_be_bytes() != cursor.bytes(CRC_BYTES as usize)? {
        return Err(Damaged("the checksum of a series differs"));
    }
    // `SeriesFetch::new` made the place of an id.
    entry.id = (at / SERIES_ALIGN) as u32;
    series::decode(body, entry)?;
    Ok(None)
}

/// Where a batch of rows with about so many bytes of chunks ends; one row on at least, if there is one.
pub fn chunk_rows_end(selected: &Selected, start: usize, bytes_max: u64) -> usize {
    let mut bytes = 0;
    for row in start..selected.labels.len() {
        for place in selected.chunks_of(row) {
            bytes += match place.end {
                0 => CHUNK_GUESS,
                end => u64::from(end - place.meta.offset()),
            };
        }
        if bytes > bytes_max && row > start {
            return row;
        }
    }
    selected.labels.len()
}

/// Chunks under way.
pub struct ChunkFetch {
    selected: Arc<Selected>,
    rows: Range<usize>,
    segment_bytes: Vec<u64>,
    /// By place: number of the chunk in `selected`, and how much to fetch of it.
    pending: Vec<(usize, u64)>,
    /// Data of the chunks in range, in `data`: start, end, encoding.
    found: Vec<(usize, usize, u8)>,
    data: Vec<u8>,
    gap: u64,
    ranges: Vec<FileRange>,
}

impl ChunkFetch {
    /// segment_bytes: how long the segments are.
    pub fn new(
        selected: Arc<Selected>,
        rows: Range<usize>,
        segment_bytes: Vec<u64>,
        gap: u64,
    ) -> Result<Self, BlockError> {
        let chunks = selected.chunk_start[rows.start]..selected.chunk_start[rows.end];
        let mut pending = Vec::with_capacity(chunks.len());
        for number in chunks.clone() {
            let place = &selected.chunks[number];
            let (segment, at) = (
                place.meta.segment() as usize,
                u64::from(place.meta.offset()),
            );
            let size = segment_bytes.get(segment).copied().unwrap_or(0);
            if at < SEGMENT_HEADER_BYTES || at >= size {
                return Err(BlockError::Damaged(format!(
                    "the index has a chunk at byte {at} of segment {}, which has {size}",
                    segment + 1
                )));
            }
            let wanted = match place.end {
                0 => CHUNK_GUESS,
                end => u64::from(end) - at,
            };
            pending.push((number, wanted));
        }
        pending.sort_by_key(|&(number, _)| selected.chunks[number].meta.reference);
        let mut fetch = ChunkFetch {
            found: vec![(0, 0, 0); chunks.len()],
            selected,
            rows,
            segment_bytes,
            pending,
            data: Vec::new(),
            gap,
            ranges: Vec::new(),
        };
        fetch.ask();
        Ok(fetch)
    }

    fn ask(&mut self) {
        let range = |&(number, bytes): &(usize, u64)| {
            let meta = &self.selected.chunks[number].meta;
            let start = u64::from(meta.offset());
            FileRange {
                file: meta.segment(),
                start,
                end: (start + bytes).min(self.segment_bytes[meta.segment() as usize]),
            }
        };
        self.ranges = coalesce(self.pending.iter().map(range), self.gap);
    }

    /// file: the segment, from 0.
    pub fn ranges(&self) -> &[FileRange] {
        &self.ranges
    }

    pub fn add(&mut self, buffers: &[Bytes]) -> Result<(), BlockError> {
        let fetched = Fetched::new(&self.ranges, buffers)?;
        let first = self.selected.chunk_start[self.rows.start];
        let mut missing = Vec::new();
        for &(number, asked) in &self.pending {
            let meta = &self.selected.chunks[number].meta;
            let (segment, at) = (meta.segment(), u64::from(meta.offset()));
            let bytes = fetched.from(segment, at);
            let fault = |what| {
                let file = segment + 1;
                BlockError::Damaged(format!("chunks/{file:06} at byte {at}: {what}"))
            };
            if let Some((encoding, data, _)) = split(bytes).map_err(fault)? {
                let start = self.data.len();
                self.data.extend_from_slice(data);
                self.found[number - first] = (start, self.data.len(), encoding);
                continue;
            }
            let size = self.segment_bytes[segment as usize];
            match needed(bytes) {
                bytes if bytes > asked && bytes <= size - at => missing.push((number, bytes)),
                _ => return Err(fault(Damaged("a chunk reaches beyond its segment"))),
            }
        }
        self.pending = missing;
        self.ask();
        Ok(())
    }

    /// The rows with their chunks.
    pub fn finish(self) -> Result<EncodedSet, BlockError> {
        if !self.pending.is_empty() {
            return Err(Damaged("not all chunks were fetched").into());
        }
        let first = self.selected.chunk_start[self.rows.start];
        let mut set = SetBuilder::default();
        for row in self.rows.clone() {
            let chunks = self.selected.chunk_start[row]..self.selected.chunk_start[row + 1];
            for number in chunks {
                let meta = &self.selected.chunks[number].meta;
                let (start, end, encoding) = self.found[number - first];
                set.chunk(meta.mint, meta.maxt, |out| {
                    out.extend_from_slice(&self.data[start..end]);
                    Ok::<u8, BlockError>(encoding)
                })?;
            }
            set.end_row()?;
        }
        let labels = match self.rows == (0..self.selected.labels.len()) {
            true => self.selected.labels.clone(),
            false => self.selected.labels.take(self.rows.clone()),
        };
        Ok(set.finish(labels))
    }
}

/// What the chunk at the beginning of `bytes` takes.
fn needed(bytes: &[u8]) -> u64 {
    let mut cursor = Cursor::new(bytes);
    match cursor.uvarint() {
        Ok(len) => {
            let head = (bytes.len() - cursor.remaining()) as u64;
            len.saturating_add(head + 1 + CRC_BYTES)
        }
        Err(_) => CHUNK_OVERHEAD_MAX + CHUNK_GUESS,
    }
}
