//! Blocks: immutable files of chunks with an index, in Prometheus' format (docs/blocks.md).
//!
//! In: series in label order with encoded chunks (`writer`), or the files of a block (`reader`). Files are read at
//! positions, never mapped; what stays in memory is every 32nd symbol's place and every 32nd label value. meta.json is
//! Python's. Decoders are total: sizes are held against the file before memory is taken.
//!
//! ```text
//! writer ── segments, index_writer ── postings          reader ── index ── symbols, table, series ── source
//! ```

pub mod index;
pub mod index_writer;
pub mod layout;
pub mod merge;
pub mod postings;
pub mod reader;
pub mod segments;
pub mod series;
pub mod source;
pub mod symbols;
pub mod table;
pub mod tombstones;
pub mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

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

pub(crate) fn io_at(path: &Path) -> impl Fn(io::Error) -> BlockError + '_ {
    |error| BlockError::Io(error, path.to_path_buf())
}
