//! A part of a head as a block: its series in label order with their chunks (tsdb-block.md section 14).
//!
//! Nothing before the end of the part is accepted in order any more when this begins (`SeriesTable::freeze`), so what is
//! written does not change under the writer's hands. The table's lock is taken for some series at a time, to copy what is
//! theirs; sorting, encoding and writing are done without it. In memory at once: 4 bytes for each label of each series
//! of the part, the texts of its labels once, and the chunks of some series.

mod capture;
mod order;

use std::fmt;
use std::path::Path;

use super::core::{AppendError, Head};
use crate::block::{BlockError, BlockStats, BlockWriter, ChunkRef};
use crate::codec::Damaged;
use crate::codec::rechunk::{Encoded, rechunk};
use capture::{Capture, Held};
pub use order::Ordered;

/// Series that are looked at, or copied, under one lock.
pub const SLICE: u32 = if cfg!(test) { 3 } else { 2048 };

/// Which samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    InOrder,
    /// Those of out-of-order chunks that are frozen.
    OutOfOrder,
}

/// A part of a head: samples with mint <= t < maxt.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub part: Part,
    pub mint: i64,
    pub maxt: i64,
}

impl Range {
    fn overlaps(&self, from: i64, to: i64) -> bool {
        from < self.maxt && to >= self.mint
    }

    fn holds(&self, from: i64, to: i64) -> bool {
        self.mint <= from && to < self.maxt
    }
}

/// Takes series in label order. Labels are numbers of `Ordered::symbols`, from 1 on.
pub trait SeriesSink {
    fn series(&mut self, labels: &[(u32, u32)], chunks: &[ChunkRef<'_>]) -> Result<(), BlockError>;
}

impl SeriesSink for BlockWriter {
    fn series(&mut self, labels: &[(u32, u32)], chunks: &[ChunkRef<'_>]) -> Result<(), BlockError> {
        self.series_by_symbols(labels, chunks)
    }
}

#[derive(Debug)]
pub enum CutError {
    Head(AppendError),
    Damaged(Damaged),
    Write(BlockError),
}

impl From<AppendError> for CutError {
    fn from(e: AppendError) -> Self {
        CutError::Head(e)
    }
}

impl From<Damaged> for CutError {
    fn from(e: Damaged) -> Self {
        CutError::Damaged(e)
    }
}

impl fmt::Display for CutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CutError::Head(AppendError::Log(e)) => f.write_str(&e.text),
            CutError::Head(AppendError::Unusable(why)) => f.write_str(why),
            CutError::Head(AppendError::Batch(e)) | CutError::Damaged(e) => f.write_str(e.0),
            CutError::Write(e) => e.fmt(f),
        }
    }
}

/// Write a part as a block into a directory, which exists and is empty. None: no series has a sample there, and nothing
/// is written. Times of `BlockStats` are those of samples.
pub fn write_block(
    head: &Head,
    range: Range,
    directory: &Path,
    segment_bytes: u64,
) -> Result<Option<BlockStats>, CutError> {
    let ordered = Ordered::new(head, range)?;
    if ordered.is_empty() {
        return Ok(None);
    }
    let symbols = ordered.symbols().into_iter();
    let mut writer =
        BlockWriter::create(directory, symbols, segment_bytes).map_err(CutError::Write)?;
    write(head, range, &ordered, &mut writer)?;
    let stats = writer.finish().map_err(CutError::Write)?;
    Ok((stats.series > 0).then_some(stats))
}

/// Hand the series of a part, which are in `ordered`, to a sink. `Damaged`: a chunk of the head does not decode.
pub fn write(
    head: &Head,
    range: Range,
    ordered: &Ordered,
    sink: &mut impl SeriesSink,
) -> Result<(), CutError> {
    let mut capture = Capture::default();
    let mut start = 0;
    while start < ordered.len() {
        let rows = start..(start + SLICE as usize).min(ordered.len());
        capture.clear();
        {
            let table = head.table()?;
            for row in rows.clone() {
                capture.series(&table, ordered.sid(row), range);
            }
        }
        for row in rows.clone() {
            let chunks = capture.chunks(row - start);
            series(ordered, row, chunks, &capture, range, sink)?;
        }
        start = rows.end;
    }
    Ok(())
}

fn series(
    ordered: &Ordered,
    row: usize,
    chunks: &[Held],
    capture: &Capture,
    range: Range,
    sink: &mut impl SeriesSink,
) -> Result<(), CutError> {
    let labels: Vec<(u32, u32)> = ordered.labels(row).collect();
    let whole = chunks.iter().all(|held| range.holds(held.mint, held.maxt));
    if whole && (range.part == Part::InOrder || chunks.len() == 1) {
        let chunks: Vec<ChunkRef<'_>> = chunks.iter().map(|held| capture.chunk(held)).collect();
        return hand_over(&labels, &chunks, sink);
    }
    let encoded = |chunks: &[Held]| {
        let chunks = chunks
            .iter()
            .map(|held| (held.encoding, capture.bytes(held)));
        rechunk(chunks, range.mint, range.maxt.saturating_sub(1))
    };
    let made: Vec<Option<Vec<Encoded>>> = match range.part {
        // They lie apart: those that reach over an end are cut there, the others stay as they are.
        Part::InOrder => chunks
            .iter()
            .map(|held| match range.holds(held.mint, held.maxt) {
                true => Ok(None),
                false => encoded(std::slice::from_ref(held)).map(Some),
            })
            .collect::<Result<_, _>>()?,
        Part::OutOfOrder => vec![Some(encoded(chunks)?)],
    };
    let mut out: Vec<ChunkRef<'_>> = Vec::new();
    for (made, held) in made.iter().zip(chunks) {
        match made {
            None => out.push(capture.chunk(held)),
            Some(made) => out.extend(made.iter().map(|chunk| ChunkRef {
                mint: chunk.mint,
                maxt: chunk.maxt,
                encoding: chunk.encoding,
                data: &chunk.data,
            })),
        }
    }
    hand_over(&labels, &out, sink)
}

fn hand_over(
    labels: &[(u32, u32)],
    chunks: &[ChunkRef<'_>],
    sink: &mut impl SeriesSink,
) -> Result<(), CutError> {
    // Chunks may overlap the part without having a sample in it.
    if chunks.is_empty() {
        return Ok(());
    }
    sink.series(labels, chunks).map_err(CutError::Write)
}
