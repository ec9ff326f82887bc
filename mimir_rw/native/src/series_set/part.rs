//! A part: some rows of a series set as bytes.
//!
//! ```text
//! version u8 (1)
//! uvarint rows, label frame of so many rows (frame_codec.rs)
//! uvarint runs; per row a uvarint: how many are its own
//! per run: varint mint less that of the run before (from 0), uvarint maxt less mint, uvarint bytes
//! XOR chunks of the runs, one after another: sample count u16 BE, bit stream
//! ```
//!
//! Rows ascend by labels, within a part and from part to part. The runs of a row are in the order in which they win at
//! equal times.

use std::ops::Range;

use super::runs::{Run, RunSource, Samples};
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_varint};
use crate::codec::xor::chunk_of;
use crate::labels::{LabelFrame, frame_codec};

const VERSION: u8 = 1;
/// What a row costs beside its chunks, about.
const ROW_BYTES: usize = 32;
const RUN_BYTES_MIN: usize = 3;

pub fn encode(set: &impl RunSource, rows: Range<usize>) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_uvarint(&mut out, rows.len() as u64);
    frame_codec::encode(set.labels(), rows.clone(), &mut out);
    let count: usize = rows.clone().map(|row| set.runs(row).len()).sum();
    put_uvarint(&mut out, count as u64);
    for row in rows.clone() {
        put_uvarint(&mut out, set.runs(row).len() as u64);
    }
    let mut chunks = Vec::with_capacity(rows.clone().map(|row| chunk_bytes(set, row)).sum());
    let mut before = 0;
    for run in rows.flat_map(|row| set.runs(row)) {
        let start = chunks.len();
        match run.samples {
            Samples::Chunk(chunk) => chunks.extend_from_slice(chunk),
            Samples::Plain(samples) => chunks.extend_from_slice(&chunk_of(samples)),
        }
        put_varint(&mut out, run.mint.wrapping_sub(before));
        put_uvarint(&mut out, run.maxt.wrapping_sub(run.mint) as u64);
        put_uvarint(&mut out, (chunks.len() - start) as u64);
        before = run.mint;
    }
    out.extend_from_slice(&chunks);
    out
}

fn chunk_bytes(set: &impl RunSource, row: usize) -> usize {
    let bytes = |run: Run<'_>| match run.samples {
        Samples::Chunk(chunk) => chunk.len(),
        Samples::Plain(samples) => 2 + 20 * samples.len(),
    };
    set.runs(row).map(bytes).sum()
}

/// Where a part from `start` with about `bytes_max` bytes ends; it has one row at least if there is one.
pub fn end_of(set: &impl RunSource, start: usize, bytes_max: usize) -> usize {
    let mut bytes = 0;
    for row in start..set.len() {
        bytes += ROW_BYTES + chunk_bytes(set, row);
        if bytes > bytes_max && row > start {
            return row;
        }
    }
    set.len()
}

/// Number of rows a part says it has.
pub fn rows_of(data: &[u8]) -> Result<usize, Damaged> {
    header(&mut Cursor::new(data))
}

fn header(cursor: &mut Cursor<'_>) -> Result<usize, Damaged> {
    if cursor.u8()? != VERSION {
        return Err(Damaged("unknown version of a series set"));
    }
    usize::try_from(cursor.uvarint()?).map_err(|_| Damaged("a series set has too many rows"))
}

/// Where a chunk is in its part.
#[derive(Clone, Copy, Debug)]
pub struct RunSpan {
    pub mint: i64,
    pub maxt: i64,
    pub start: u32,
    pub end: u32,
}

#[derive(Debug)]
pub struct Part {
    pub labels: LabelFrame,
    /// Runs of each row.
    pub run_counts: Vec<u32>,
    pub runs: Vec<RunSpan>,
}

pub fn decode(data: &[u8]) -> Result<Part, Damaged> {
    let size = u32::try_from(data.len()).map_err(|_| Damaged("a part holds less than 4 GiB"))?;
    let mut cursor = Cursor::new(data);
    let rows = header(&mut cursor)?;
    let labels = frame_codec::decode(&mut cursor)?;
    let count = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
    let least = count.saturating_mul(RUN_BYTES_MIN).saturating_add(rows);
    if labels.len() != rows || least > cursor.remaining() {
        return Err(Damaged(
            "a part says that it has more rows than it can hold",
        ));
    }
    let mut run_counts = Vec::with_capacity(rows);
    let mut total = 0usize;
    for _ in 0..rows {
        let runs = u32::try_from(cursor.uvarint()?).unwrap_or(u32::MAX);
        total = total.saturating_add(runs as usize);
        run_counts.push(runs);
    }
    if total != count {
        return Err(Damaged("the numbers of runs of the rows do not add up"));
    }
    let mut runs = Vec::with_capacity(count);
    let (mut mint, mut end) = (0i64, 0u32);
    for _ in 0..count {
        mint = mint.wrapping_add(cursor.varint()?);
        let maxt = mint.wrapping_add(cursor.uvarint()? as i64);
        if maxt < mint {
            return Err(Damaged("a run ends before it begins"));
        }
        let start = end;
        end = start.saturating_add(u32::try_from(cursor.uvarint()?).unwrap_or(u32::MAX));
        runs.push(RunSpan {
            mint,
            maxt,
            start,
            end,
        });
    }
    if end as usize != cursor.remaining() {
        return Err(Damaged("the chunks of a part do not fill it"));
    }
    let offset = size - end;
    for run in &mut runs {
        run.start += offset;
        run.end += offset;
    }
    Ok(Part {
        labels,
        run_counts,
        runs,
    })
}
