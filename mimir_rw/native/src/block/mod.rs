//! Blocks: immutable files of chunks with an index, in Prometheus' format (docs/blocks.md).
//!
//! In: series in label order with encoded chunks (`writer`), or the files of a block (`reader`). Files are read at
//! positions, never mapped; what stays in memory is every 32nd symbol's place and every 32nd label value. meta.json is
//! Python's. Decoders are total: sizes are held against the file before memory is taken.
//!
//! ```text
//! writer ── segments, index_writer ── postings          reader ── index ── symbols, table, series ── source
//! ```

pub mod builder;
pub mod fetch;
pub mod header;
pub mod index;
pub mod index_writer;
pub mod layout;
pub mod merge;
pub mod plan;
pub mod postings;
mod python;
mod python_header;
pub mod reader;
pub mod rows;
pub mod segments;
pub mod select;
pub mod series;
pub mod source;
pub mod symbols;
pub mod table;
pub mod tombstones;
pub mod verify;
pub mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;

pub use reader::BlockReader;
pub use writer::{BlockStats, BlockWriter, ChunkRef};

/// Why a block cannot be read or written.
#[derive(Debug)]
pub enum BlockError {
    Io(io::Error, PathBuf),
    /// Bytes at rest that are not as the format says; names file and place.
    Damaged(String),
    /// What was handed to the writer is not in order; the caller's fault.
    Order(String),
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error, path) => write!(f, "{}: {error}", path.display()),
            Self::Damaged(what) | Self::Order(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for BlockError {}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<python::LocalBlock>()?;
    m.add_class::<builder::BlockBuilder>()?;
    m.add_class::<builder::PyBlockStats>()?;
    m.add_function(wrap_pyfunction!(builder::copy_block, m)?)?;
    m.add_class::<python::BlockReport>()?;
    m.add_function(wrap_pyfunction!(python::verify_block_files, m)?)?;
    python_header::register(m)
}

pub(crate) fn io_at(path: &Path) -> impl Fn(io::Error) -> BlockError + '_ {
    |error| BlockError::Io(error, path.to_path_buf())
}
