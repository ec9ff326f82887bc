//! Compaction for Python.

use std::path::PathBuf;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use super::{MergeError, Source, compact};
use crate::block::BlockError;
use crate::error::DataDamaged;

/// Series, chunks, samples, floats, histograms, first and last time of a block.
type Stats = (u64, u64, u64, u64, u64, i64, i64);

/// Merge blocks (`block::merge`). sources: directory, time range of the block (end exclusive). DataDamaged has two arguments: what is wrong, and the number of the source.
#[pyfunction]
fn compact_blocks(
    py: Python<'_>,
    sources: Vec<(PathBuf, i64, i64)>,
    outputs: Vec<PathBuf>,
    segment_bytes: u64,
) -> PyResult<Vec<Stats>> {
    let source = |(directory, mint, maxt)| Source {
        directory,
        mint,
        maxt,
    };
    let sources: Vec<Source> = sources.into_iter().map(source).collect();
    let done = py.detach(|| compact(&sources, &outputs, segment_bytes));
    let each = done.map_err(python_error)?.into_iter().map(|stats| {
        (
            stats.series,
            stats.chunks,
            stats.samples,
            stats.floats,
            stats.histograms,
            stats.mint,
            stats.maxt,
        )
    });
    Ok(each.collect())
}

fn python_error(error: MergeError) -> PyErr {
    match error {
        MergeError::Source(at, BlockError::Io(error, path))
            if error.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            PyOSError::new_err(format!("source {at}: {}: {error}", path.display()))
        }
        MergeError::Source(at, error) => DataDamaged::new_err((error.to_string(), at)),
        MergeError::Write(error) => PyOSError::new_err(error.to_string()),
        MergeError::Output(what) => PyOSError::new_err(what),
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(compact_blocks, m)?)
}
