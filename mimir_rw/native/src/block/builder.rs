//! Blocks from columns and from other blocks, for tests and tools. Ingesters and the compactor use `BlockWriter`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::layout::SEGMENT_BYTES;
use super::series::SeriesEntry;
use super::{BlockError, BlockReader, BlockStats, BlockWriter, ChunkRef};
use crate::codec::histogram::chunks_of;
use crate::codec::xor::chunk_of;
use crate::histogram::Histogram;
use crate::labels::LabelFrame;
use crate::series_set::runs::XOR;
use crate::windows::SampleColumns;

/// Floats in a chunk, as Prometheus cuts them.
const CHUNK_SAMPLES: usize = 120;

struct OwnChunk {
    mint: i64,
    maxt: i64,
    encoding: u8,
    data: Vec<u8>,
}

/// A row's samples as chunks, ascending; floats and histograms do not share any.
fn chunks_of_row(columns: &SampleColumns, row: usize) -> Vec<OwnChunk> {
    let (ts, values) = columns.row(row);
    let (other_ts, others) = columns
        .histograms()
        .map_or((&[][..], &[][..]), |h| h.row(row));
    let others: Vec<(i64, Histogram)> = other_ts
        .iter()
        .zip(others)
        .map(|(&t, h)| (t, Histogram::Float((**h).clone())))
        .collect();
    let mut chunks = Vec::new();
    let (mut at, mut other) = (0, 0);
    while at < ts.len() || other < others.len() {
        let until = others.get(other).map_or(i64::MAX, |next| next.0);
        let run = ts[at..].iter().take_while(|&&t| t < until).count();
        let run = if other == others.len() {
            ts.len() - at
        } else {
            run
        };
        for part in (at..at + run).collect::<Vec<_>>().chunks(CHUNK_SAMPLES) {
            let samples: Vec<(i64, u64)> =
                part.iter().map(|&i| (ts[i], values[i].to_bits())).collect();
            chunks.push(OwnChunk {
                mint: samples[0].0,
                maxt: samples[samples.len() - 1].0,
                encoding: XOR,
                data: chunk_of(&samples),
            });
        }
        at += run;
        let until = ts.get(at).copied();
        let run = others[other..].iter();
        let run = run
            .take_while(|h| until.is_none_or(|until| h.0 < until))
            .count();
        let samples = others[other..other + run].iter().map(|(t, h)| (*t, h));
        chunks.extend(
            chunks_of(samples)
                .into_iter()
                .map(|(encoding, mint, maxt, data)| OwnChunk {
                    mint,
                    maxt,
                    encoding,
                    data,
                }),
        );
        other += run;
        if run == 0 && at < ts.len() && others.get(other).is_some_and(|h| h.0 == ts[at]) {
            // A float at the time of a histogram: the histogram stands.
            at += 1;
        }
    }
    chunks
}

/// Series in any order, written when all are there.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct BlockBuilder(Mutex<Vec<(LabelFrame, SampleColumns)>>);

#[pyclass(frozen, get_all, name = "BlockStats", module = "mimir_rw._native")]
pub struct PyBlockStats {
    series: u64,
    chunks: u64,
    samples: u64,
    floats: u64,
    histograms: u64,
    mint: Option<i64>,
    maxt: Option<i64>,
}

impl From<BlockStats> for PyBlockStats {
    fn from(stats: BlockStats) -> Self {
        let any = stats.mint <= stats.maxt;
        PyBlockStats {
            series: stats.series,
            chunks: stats.chunks,
            samples: stats.samples,
            floats: stats.floats,
            histograms: stats.histograms,
            mint: any.then_some(stats.mint),
            maxt: any.then_some(stats.maxt),
        }
    }
}

#[pymethods]
impl BlockBuilder {
    #[new]
    fn new() -> Self {
        BlockBuilder(Mutex::default())
    }

    fn add(&self, labels: &LabelFrame, samples: &SampleColumns) -> PyResult<()> {
        if labels.len() != samples.rows() {
            let (labels, rows) = (labels.len(), samples.rows());
            return Err(PyValueError::new_err(format!(
                "{labels} label sets of {rows} rows"
            )));
        }
        self.parts().push((labels.clone(), samples.clone()));
        Ok(())
    }

    #[pyo3(signature = (directory, *, segment_bytes=SEGMENT_BYTES))]
    fn write(
        &self,
        py: Python<'_>,
        directory: PathBuf,
        segment_bytes: u64,
    ) -> PyResult<PyBlockStats> {
        let parts = std::mem::take(&mut *self.parts());
        Ok(py
            .detach(|| write(&parts, &directory, segment_bytes))?
            .into())
    }
}

impl BlockBuilder {
    fn parts(&self) -> std::sync::MutexGuard<'_, Vec<(LabelFrame, SampleColumns)>> {
        // A panic elsewhere leaves whole parts.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn write(
    parts: &[(LabelFrame, SampleColumns)],
    directory: &Path,
    segment_bytes: u64,
) -> Result<BlockStats, BlockError> {
    let frames: Vec<&LabelFrame> = parts.iter().map(|part| &part.0).collect();
    let labels = LabelFrame::concat(&frames);
    let rows: Vec<(usize, usize)> = (0..parts.len())
        .flat_map(|part| (0..parts[part].0.len()).map(move |row| (part, row)))
        .collect();
    let columns = labels.columns().iter();
    let mut symbols: Vec<&str> = columns
        .flat_map(|c| c.dictionary.iter().chain([&*c.name]))
        .collect();
    symbols.sort_unstable();
    symbols.dedup();
    let mut writer = BlockWriter::create(directory, symbols.into_iter(), segment_bytes)?;
    for row in labels.sort_order() {
        let (part, from) = rows[row as usize];
        let own = chunks_of_row(&parts[part].1, from);
        let chunks: Vec<ChunkRef<'_>> = own.iter().map(OwnChunk::as_ref).collect();
        if !chunks.is_empty() {
            let pairs: Vec<(&str, &str)> = labels.labels(row as usize).collect();
            writer.series(&pairs, &chunks)?;
        }
    }
    writer.finish()
}

impl OwnChunk {
    fn as_ref(&self) -> ChunkRef<'_> {
        ChunkRef {
            mint: self.mint,
            maxt: self.maxt,
            encoding: self.encoding,
            data: &self.data,
        }
    }
}

/// Read a whole block and write it again: the same bytes, where we and the writer of the first do the same.
pub fn copy(from: &Path, to: &Path, segment_bytes: u64) -> Result<BlockStats, BlockError> {
    let block = BlockReader::open(from)?;
    let symbols: Vec<String> = block.symbols().collect::<Result<_, _>>()?;
    let texts = symbols.iter().map(String::as_str);
    // Numbers are the writer's when "" was there.
    let shift = u32::from(symbols.first().is_none_or(|first| !first.is_empty()));
    let mut writer = BlockWriter::create(to, texts, segment_bytes)?;
    let (mut cursor, mut entry) = (block.series_in_order(), SeriesEntry::default());
    let mut chunks = block.chunk_cursor();
    let (mut data, mut own) = (Vec::new(), Vec::new());
    while cursor.read_next(&mut entry)? {
        data.clear();
        own.clear();
        for &chunk in &entry.chunks {
            let start = data.len();
            let encoding = chunks.read(chunk.reference, &mut data)?;
            own.push((chunk, encoding, start..data.len()));
        }
        let refs: Vec<ChunkRef<'_>> = own
            .iter()
            .map(|(chunk, encoding, range)| ChunkRef {
                mint: chunk.mint,
                maxt: chunk.maxt,
                encoding: *encoding,
                data: &data[range.clone()],
            })
            .collect();
        for label in &mut entry.labels {
            *label = (label.0 + shift, label.1 + shift);
        }
        writer.series_by_symbols(&entry.labels, &refs)?;
    }
    writer.finish()
}

#[pyfunction]
#[pyo3(signature = (source, directory, *, segment_bytes=SEGMENT_BYTES))]
pub fn copy_block(
    py: Python<'_>,
    source: PathBuf,
    directory: PathBuf,
    segment_bytes: u64,
) -> PyResult<PyBlockStats> {
    Ok(py
        .detach(|| copy(&source, &directory, segment_bytes))?
        .into())
}
