//! Reads a block from its directory.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::index::{Index, SeriesCursor};
use super::segments::{ChunkCursor, SegmentReader};
use super::source::damaged;
use super::tombstones::{self, Tombstone};
use super::{BlockError, io_at};

pub struct BlockReader {
    directory: PathBuf,
    pub index: Index,
    pub segments: SegmentReader,
}

impl BlockReader {
    /// Open index and segments; meta.json is not looked at.
    pub fn open(directory: &Path) -> Result<Self, BlockError> {
        Ok(BlockReader {
            index: Index::open(&directory.join("index"))?,
            segments: SegmentReader::open(&directory.join("chunks"))?,
            directory: directory.to_path_buf(),
        })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All series in order, with symbols as numbers.
    pub fn series_in_order(&self) -> SeriesCursor<'_> {
        self.index.series_in_order()
    }

    pub fn symbols(&self) -> impl Iterator<Item = Result<String, BlockError>> {
        self.index.symbols.iter()
    }

    /// Encoding and data of a chunk; its checksum is checked.
    pub fn chunk(&self, reference: u64) -> Result<(u8, Vec<u8>), BlockError> {
        self.segments.chunk(reference)
    }

    /// For many chunks in ascending order.
    pub fn chunk_cursor(&self) -> ChunkCursor<'_> {
        self.segments.cursor()
    }

    /// Ids of the series with a label, ascending; ("", "") has all.
    pub fn postings(&self, name: &str, value: &str) -> Result<Vec<u32>, BlockError> {
        let mut span = None;
        let values = [value.to_owned()];
        self.index
            .table
            .lookup(name, &values, |_, found| span = Some(found))?;
        let mut ids = Vec::new();
        if let Some(span) = span {
            self.index.read_list(span, &mut ids)?;
        }
        Ok(ids)
    }

    /// Ascending.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.index.table.label_names()
    }

    /// Ascending.
    pub fn label_values(&self, name: &str) -> Result<Vec<String>, BlockError> {
        let mut values = Vec::new();
        self.index.table.values_from(name, "", |value, _| {
            values.push(value.to_owned());
            true
        })?;
        Ok(values)
    }

    /// What is deleted of the block; nothing when it has no such file (blocks in a bucket have none).
    pub fn tombstones(&self) -> Result<Vec<Tombstone>, BlockError> {
        let path = self.directory.join("tombstones");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_at(&path)(error)),
        };
        tombstones::decode(&bytes)
            .map_err(|what| BlockError::Damaged(format!("{}: {what}", path.display())))
    }

    /// Damage at a byte of the index.
    pub fn index_damaged(&self, at: u64, what: impl std::fmt::Display) -> BlockError {
        damaged(&*self.index.source, at, what)
    }
}
