//! An index in its file: symbols, series, postings.

use std::path::Path;

use super::BlockError;
use super::layout::{INDEX_HEADER_BYTES, INDEX_MAGIC, INDEX_VERSION, SERIES_ALIGN, TOC_BYTES, Toc};
use super::postings;
use super::series::{self, SeriesEntry};
use super::source::{FileSource, Source, Stream, damaged, read_range};
use super::symbols::SymbolTable;
use super::table::{ListSpan, PostingsTable};

pub struct Index {
    pub(super) source: Source,
    pub toc: Toc,
    pub symbols: SymbolTable,
    pub table: PostingsTable,
}

impl Index {
    pub fn open(path: &Path) -> Result<Self, BlockError> {
        Self::over(FileSource::open(path)?)
    }

    pub fn over(source: Source) -> Result<Self, BlockError> {
        let size = source.size();
        let head = read_range(&*source, 0, INDEX_HEADER_BYTES)?;
        check_head(&head).map_err(|what| damaged(&*source, 0, what))?;
        let at = size.saturating_sub(TOC_BYTES);
        let toc = Toc::decode(&read_range(&*source, at, size - at)?, size);
        let toc = toc.map_err(|what| damaged(&*source, at, what))?;
        let symbols = SymbolTable::open(source.clone(), toc.symbols)?;
        let lists = toc.postings..toc.postings_end();
        let table = PostingsTable::open(source.clone(), toc.postings_table, lists)?;
        Ok(Index {
            source,
            toc,
            symbols,
            table,
        })
    }

    pub fn size(&self) -> u64 {
        self.source.size()
    }

    pub fn memory_bytes(&self) -> usize {
        self.symbols.memory_bytes() + self.table.memory_bytes()
    }

    /// Append the ids of a list.
    pub fn read_list(&self, span: ListSpan, ids: &mut Vec<u32>) -> Result<(), BlockError> {
        let bytes = read_range(&*self.source, span.start, span.end - span.start)?;
        postings::decode(&bytes, ids).map_err(|what| damaged(&*self.source, span.start, what))
    }

    /// All series, in order.
    pub fn series_in_order(&self) -> SeriesCursor<'_> {
        SeriesCursor(Stream::new(
            &*self.source,
            self.toc.series,
            self.toc.series_end(),
        ))
    }

    /// The series of ids, which ascend.
    pub fn series_at(
        &self,
        ids: &[u32],
        mut each: impl FnMut(&SeriesEntry),
    ) -> Result<(), BlockError> {
        let mut stream = Stream::new(&*self.source, self.toc.series, self.toc.series_end());
        let mut entry = SeriesEntry::default();
        for &id in ids {
            let at = u64::from(id) * SERIES_ALIGN;
            if at < self.toc.series || at >= stream.end() {
                return Err(stream.damaged_at(at, "a series is not where series are"));
            }
            stream.seek(at);
            series::read(&mut stream, &mut entry)?;
            each(&entry);
        }
        Ok(())
    }
}

/// Magic and version.
pub fn check_head(head: &[u8]) -> Result<(), &'static str> {
    match head.split_first_chunk::<4>() {
        Some((&INDEX_MAGIC, [INDEX_VERSION, ..])) => Ok(()),
        Some((&INDEX_MAGIC, _)) => Err("the version of the index is not 2"),
        _ => Err("this is not an index"),
    }
}

/// Reads the series section from its beginning to its end.
pub struct SeriesCursor<'a>(Stream<'a>);

impl SeriesCursor<'_> {
    /// Read the next series into `entry`; false when there is none.
    pub fn read_next(&mut self, entry: &mut SeriesEntry) -> Result<bool, BlockError> {
        let at = self.0.position().next_multiple_of(SERIES_ALIGN);
        if at >= self.0.end() {
            return Ok(false);
        }
        self.0.seek(at);
        series::read(&mut self.0, entry)?;
        Ok(true)
    }
}
