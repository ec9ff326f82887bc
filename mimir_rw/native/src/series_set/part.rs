//! A part: some rows of a series set as bytes.
//!
//! ```text
//! version u8: 1 when all runs are floats, else 2
//! uvarint rows, label frame of so many rows (frame_codec.rs)
//! uvarint runs; per row a uvarint: how many are its own
//! per run: varint mint less that of the run before (from 0), uvarint maxt less mint, uvarint bytes, and in version 2
//!     encoding u8 (tsdb-block.md section 5.1): 1 XOR, 2 histograms, 3 float histograms
//! chunks of the runs, one after another, as they are stored in blocks
//! ```
//!
//! Rows ascend by labels, within a part and from part to part. The runs of a row are in the order in which they win at
//! equal times.

use std::ops::Range;

use super::runs::{Run, RunSource, Samples, XOR};
use crate::codec::Damaged;
use crate::codec::histogram::chunks_of;
use crate::codec::histogram::kind::{Float, Kind};
use crate::codec::varint::{Cursor, put_uvarint, put_varint};
use crate::codec::xor::chunk_of;
use crate::labels::{LabelFrame, frame_codec};

const VERSION_FLOATS: u8 = 1;
const VERSION: u8 = 2;
pub const FLOAT_HISTOGRAMS: u8 = Float::ENCODING;
/// What a row costs beside its chunks, about.
const ROW_BYTES: usize = 32;
const RUN_BYTES_MIN: usize = 3;
/// What a histogram that is not encoded yet will take, about.
const HISTOGRAM_BYTES: usize = 100;

/// Rows as bytes. Without `histograms` they are left out, for a reader that knows none.
pub fn encode(set: &impl RunSource, rows: Range<usize>, histograms: bool) -> Vec<u8> {
    let bytes = rows.clone().map(|row| chunk_bytes(set, row)).sum();
    let mut runs = EncodedRuns {
        ends: Vec::with_capacity(rows.len()),
        runs: Vec::new(),
        chunks: Vec::with_capacity(bytes),
    };
    for row in rows.clone() {
        let wanted = |run: &Run<'_>| histograms || !run.samples.are_histograms();
        set.runs(row).filter(wanted).for_each(|run| runs.push(&run));
        runs.ends.push(runs.runs.len());
    }
    let version = match runs.runs.iter().all(|run| run.encoding == XOR) {
        true => VERSION_FLOATS,
        false => VERSION,
    };
    let mut out = vec![version];
    put_uvarint(&mut out, rows.len() as u64);
    frame_codec::encode(set.labels(), rows, &mut out);
    runs.put(version, &mut out);
    out
}

struct EncodedRun {
    mint: i64,
    maxt: i64,
    encoding: u8,
    bytes: usize,
}

#[derive(Default)]
struct EncodedRuns {
    /// Runs up to the end of each row.
    ends: Vec<usize>,
    runs: Vec<EncodedRun>,
    chunks: Vec<u8>,
}

impl EncodedRuns {
    fn push(&mut self, run: &Run<'_>) {
        let Run { mint, maxt, .. } = *run;
        match run.samples {
            Samples::Chunk(chunk) => self.chunk(mint, maxt, XOR, chunk),
            Samples::Plain(samples) => self.chunk(mint, maxt, XOR, &chunk_of(samples)),
            Samples::Histograms(encoding, chunk) => self.chunk(mint, maxt, encoding, chunk),
            Samples::PlainHistograms(samples) => {
                for (encoding, mint, maxt, chunk) in
                    chunks_of(samples.iter().map(|(t, h)| (*t, &**h)))
                {
                    self.chunk(mint, maxt, encoding, &chunk);
                }
            }
        }
    }

    fn chunk(&mut self, mint: i64, maxt: i64, encoding: u8, chunk: &[u8]) {
        self.chunks.extend_from_slice(chunk);
        self.runs.push(EncodedRun {
            mint,
            maxt,
            encoding,
            bytes: chunk.len(),
        });
    }

    fn put(&self, version: u8, out: &mut Vec<u8>) {
        put_uvarint(out, self.runs.len() as u64);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        for (start, &end) in starts.zip(&self.ends) {
            put_uvarint(out, (end - start) as u64);
        }
        out.reserve(self.chunks.len() + 8 * self.runs.len());
        let mut before = 0;
        for run in &self.runs {
            put_varint(out, run.mint.wrapping_sub(before));
            put_uvarint(out, run.maxt.wrapping_sub(run.mint) as u64);
            put_uvarint(out, run.bytes as u64);
            if version == VERSION {
                out.push(run.encoding);
            }
            before = run.mint;
        }
        out.extend_from_slice(&self.chunks);
    }
}

fn chunk_bytes(set: &impl RunSource, row: usize) -> usize {
    let bytes = |run: Run<'_>| match run.samples {
        Samples::Chunk(chunk) | Samples::Histograms(_, chunk) => chunk.len(),
        Samples::Plain(samples) => 2 + 20 * samples.len(),
        Samples::PlainHistograms(samples) => HISTOGRAM_BYTES * samples.len(),
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
    Ok(header(&mut Cursor::new(data))?.1)
}

/// Version and rows.
fn header(cursor: &mut Cursor<'_>) -> Result<(u8, usize), Damaged> {
    let version = cursor.u8()?;
    if ![VERSION_FLOATS, VERSION].contains(&version) {
        return Err(Damaged("unknown version of a series set"));
    }
    let rows = usize::try_from(cursor.uvarint()?);
    Ok((
        version,
        rows.map_err(|_| Damaged("a series set has too many rows"))?,
    ))
}

/// Where a chunk is in its part.
#[derive(Clone, Copy, Debug)]
pub struct RunSpan {
    pub mint: i64,
    pub maxt: i64,
    pub start: u32,
    pub end: u32,
    pub encoding: u8,
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
    let (version, rows) = header(&mut cursor)?;
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
        let encoding = match version {
            VERSION => cursor.u8()?,
            _ => XOR,
        };
        if !(XOR..=FLOAT_HISTOGRAMS).contains(&encoding) {
            return Err(Damaged("a run has an unknown encoding"));
        }
        runs.push(RunSpan {
            mint,
            maxt,
            start,
            end,
            encoding,
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
