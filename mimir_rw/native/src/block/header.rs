//! The index-header: what of a block's index a store-gateway keeps as a local file (bucket-layout.md section 7).
//!
//! ```text
//! magic, version 1, version of the index (2), BE64 end of the last postings list
//! symbol table, as in the index
//! postings table and table of contents, as in the index
//! BE64 place of the symbols, BE64 place of the postings table, BE32 checksum of the two
//! ```

use std::ops::Range;
use std::path::Path;

use super::BlockError;
use super::index::check_head;
use super::layout::{INDEX_VERSION, TOC_BYTES, Toc};
use super::source::{FileSource, Source, damaged, read_range};
use super::symbols::SymbolTable;
use super::table::PostingsTable;
use crate::codec::Damaged;

const MAGIC: [u8; 4] = [0xBA, 0xAA, 0xD7, 0x92];
const VERSION: u8 = 1;
const HEAD_BYTES: u64 = 14;
const TAIL_BYTES: u64 = 20;

/// Where the symbols are in an index of `size` bytes, and where its tail (from the postings table on) is.
pub fn ranges(toc: &[u8], size: u64) -> Result<(Range<u64>, Range<u64>), Damaged> {
    let toc = Toc::decode(toc, size)?;
    Ok((toc.symbols..toc.series, toc.postings_table..size))
}

/// Build from four ranges of an index: its first 5 bytes, its last 52, and those that `ranges` tells.
pub fn build(first: &[u8], toc: &[u8], symbols: &[u8], tail: &[u8]) -> Result<Vec<u8>, Damaged> {
    check_head(first).map_err(Damaged)?;
    let at = u64::from_be_bytes(*toc.eight_at(40)?);
    if !tail.ends_with(toc) {
        return Err(Damaged(
            "the tail of an index ends with another table of contents",
        ));
    }
    let size = at.saturating_add(tail.len() as u64);
    let toc = Toc::decode(toc, size)?;
    if symbols.len() as u64 != toc.series - toc.symbols {
        return Err(Damaged("the symbols are not as long as they should be"));
    }
    let mut out = Vec::from(MAGIC);
    out.extend([VERSION, INDEX_VERSION]);
    let end = match toc.label_index_table {
        0 => toc.postings_table,
        end => end,
    };
    out.extend(end.to_be_bytes());
    out.extend_from_slice(symbols);
    let table = out.len() as u64;
    out.extend_from_slice(tail);
    let start = out.len();
    out.extend(HEAD_BYTES.to_be_bytes());
    out.extend(table.to_be_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    out.extend(crc.to_be_bytes());
    Ok(out)
}

trait EightAt {
    fn eight_at(&self, at: usize) -> Result<&[u8; 8], Damaged>;
}

impl EightAt for [u8] {
    fn eight_at(&self, at: usize) -> Result<&[u8; 8], Damaged> {
        let rest = self.get(at..).and_then(|rest| rest.first_chunk::<8>());
        rest.ok_or(Damaged("a table of contents ends early"))
    }
}

/// What a selection over a remote block needs beside its postings, series and chunks.
pub struct IndexHeader {
    pub symbols: SymbolTable,
    pub table: PostingsTable,
    /// Of the block's index.
    pub toc: Toc,
    size: u64,
}

impl IndexHeader {
    pub fn open(path: &Path) -> Result<Self, BlockError> {
        Self::over(FileSource::open(path)?)
    }

    pub fn over(source: Source) -> Result<Self, BlockError> {
        let size = source.size();
        let head = read_range(&*source, 0, HEAD_BYTES)?;
        let (magic, rest) = head.split_at(4);
        if magic != MAGIC || rest[0] != VERSION || rest[1] != INDEX_VERSION {
            let what = "this is not an index-header of version 1 of an index of version 2";
            return Err(damaged(&*source, 0, what));
        }
        let postings_end = rest[2..].iter().fold(0u64, |v, &b| v << 8 | u64::from(b));
        let tail_at = size.saturating_sub(TAIL_BYTES);
        let (symbols_at, table_at) = Self::places(&read_range(&*source, tail_at, TAIL_BYTES)?)
            .map_err(|what| damaged(&*source, tail_at, what))?;
        let toc_at = tail_at.saturating_sub(TOC_BYTES);
        if symbols_at >= table_at || table_at >= toc_at {
            return Err(damaged(&*source, tail_at, "sections are out of order"));
        }
        let toc = read_range(&*source, toc_at, TOC_BYTES)?;
        let toc =
            Self::toc(&toc, tail_at - table_at).map_err(|what| damaged(&*source, toc_at, what))?;
        let symbols = SymbolTable::open(source.clone(), symbols_at)?;
        let lists = toc.postings..postings_end.min(toc.postings_end());
        let table = PostingsTable::open(source, table_at, lists)?;
        Ok(IndexHeader {
            symbols,
            table,
            toc,
            size,
        })
    }

    fn places(tail: &[u8]) -> Result<(u64, u64), Damaged> {
        let (places, crc) = tail.split_at(16);
        if crc32c::crc32c(places).to_be_bytes() != crc {
            return Err(Damaged("the checksum of the places differs"));
        }
        let place = |at| -> Result<u64, Damaged> { Ok(u64::from_be_bytes(*places.eight_at(at)?)) };
        Ok((place(0)?, place(8)?))
    }

    /// tail: how long the index is from its postings table on.
    fn toc(bytes: &[u8], tail: u64) -> Result<Toc, Damaged> {
        let at = u64::from_be_bytes(*bytes.eight_at(40)?);
        Toc::decode(bytes, at.saturating_add(tail))
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn memory_bytes(&self) -> usize {
        self.symbols.memory_bytes() + self.table.memory_bytes()
    }
}
