//! Selected series: entries as they are read, then a label frame with the places of their chunks.

use hashbrown::HashMap;
use std::sync::Arc;

use super::BlockError;
use super::series::{ChunkMeta, SeriesEntry};
use super::symbols::SymbolTable;
use crate::labels::{CompiledMatcher, Dictionary, LabelFrame};

/// A chunk of a selected series.
#[derive(Clone, Copy, Debug)]
pub struct ChunkPlace {
    pub meta: ChunkMeta,
    /// Where it ends in its segment, when the series' next chunk tells; else 0.
    pub end: u32,
}

/// Series in any order, with the chunks that overlap a range.
pub struct SeriesRows {
    mint: i64,
    maxt: i64,
    ids: Vec<u32>,
    labels: Vec<(u32, u32)>,
    label_ends: Vec<usize>,
    chunks: Vec<ChunkPlace>,
    chunk_ends: Vec<usize>,
}

/// Rows ascend by labels.
#[derive(Debug, Default)]
pub struct Selected {
    pub labels: LabelFrame,
    /// Chunks of row i: `chunk_start[i]..chunk_start[i + 1]`.
    pub chunk_start: Vec<usize>,
    pub chunks: Vec<ChunkPlace>,
}

impl Selected {
    pub fn chunks_of(&self, row: usize) -> &[ChunkPlace] {
        &self.chunks[self.chunk_start[row]..self.chunk_start[row + 1]]
    }
}

impl SeriesRows {
    /// For chunks with samples in mint..=maxt.
    pub fn new(mint: i64, maxt: i64) -> Self {
        SeriesRows {
            mint,
            maxt,
            ids: Vec::new(),
            labels: Vec::new(),
            label_ends: vec![0],
            chunks: Vec::new(),
            chunk_ends: vec![0],
        }
    }

    /// Add a series, if it has a chunk in range.
    pub fn push(&mut self, entry: &SeriesEntry) {
        let before = self.chunks.len();
        for (at, &meta) in entry.chunks.iter().enumerate() {
            if meta.overlaps(self.mint, self.maxt) {
                let next = entry.chunks.get(at + 1).filter(|next| {
                    next.segment() == meta.segment() && next.offset() > meta.offset()
                });
                let end = next.map_or(0, ChunkMeta::offset);
                self.chunks.push(ChunkPlace { meta, end });
            }
        }
        if self.chunks.len() > before {
            self.ids.push(entry.id);
            self.labels.extend_from_slice(&entry.labels);
            self.label_ends.push(self.labels.len());
            self.chunk_ends.push(self.chunks.len());
        }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn labels_of(&self, row: usize) -> &[(u32, u32)] {
        &self.labels[self.label_ends[row]..self.label_ends[row + 1]]
    }

    /// Those that pass `filters`, with their strings.
    pub fn finish(
        self,
        symbols: &SymbolTable,
        filters: &[CompiledMatcher],
    ) -> Result<Selected, BlockError> {
        let texts = Texts::new(&self.labels, symbols)?;
        let mut rows: Vec<usize> = (0..self.len()).collect();
        // Ids ascend with the labels.
        rows.sort_by_key(|&row| self.ids[row]);
        for filter in filters {
            self.filter(filter, &texts, &mut rows);
        }
        let mut chunk_start = Vec::with_capacity(rows.len() + 1);
        chunk_start.push(0);
        let mut chunks = Vec::new();
        for &row in &rows {
            chunks.extend_from_slice(&self.chunks[self.chunk_ends[row]..self.chunk_ends[row + 1]]);
            chunk_start.push(chunks.len());
        }
        Ok(Selected {
            labels: self.frame(&texts, &rows),
            chunk_start,
            chunks,
        })
    }

    fn filter(&self, matcher: &CompiledMatcher, texts: &Texts, rows: &mut Vec<usize>) {
        let Some(name) = texts.find(matcher.name()) else {
            if !matcher.matches_empty() {
                rows.clear();
            }
            return;
        };
        let absent = matcher.matches_empty();
        let mut seen: HashMap<u32, bool> = HashMap::new();
        rows.retain(|&row| {
            let labels = self.labels_of(row);
            match labels.binary_search_by_key(&name, |label| label.0) {
                Err(_) => absent,
                Ok(at) => *seen
                    .entry(labels[at].1)
                    .or_insert_with(|| matcher.matches(texts.get(labels[at].1))),
            }
        });
    }

    fn frame(&self, texts: &Texts, rows: &[usize]) -> LabelFrame {
        let mut columns: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
        for (at, &row) in (0u32..).zip(rows) {
            for &(name, value) in self.labels_of(row) {
                columns.entry(name).or_default().push((at, value));
            }
        }
        let columns = columns.into_iter().map(|(name, cells)| {
            let mut values: Vec<u32> = cells.iter().map(|cell| cell.1).collect();
            values.sort_unstable();
            values.dedup();
            let mut codes = vec![-1; rows.len()];
            let mut last = (u32::MAX, -1);
            for (row, value) in cells {
                if value != last.0 {
                    let code = values.partition_point(|&other| other < value);
                    last = (value, code as i32);
                }
                codes[row as usize] = last.1;
            }
            let dictionary = texts.dictionary(&values);
            (Arc::from(texts.get(name)), Arc::new(dictionary), codes)
        });
        LabelFrame::from_columns(rows.len(), columns.collect())
    }
}

/// The strings of the symbols in use.
struct Texts {
    numbers: Vec<u32>,
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    fn new(labels: &[(u32, u32)], symbols: &SymbolTable) -> Result<Self, BlockError> {
        let mut numbers: Vec<u32> = Vec::new();
        // Most labels repeat those of the series before: a sort of few, now and then, is cheaper than one of all.
        let mut full = 2 * DISTINCT_AT;
        for &(name, value) in labels {
            numbers.extend([name, value]);
            if numbers.len() >= full {
                numbers.sort_unstable();
                numbers.dedup();
                full = 2 * numbers.len().max(DISTINCT_AT);
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(numbers.len() + 1));
        ends.push(0);
        symbols.resolve(&numbers, |_, symbol| {
            text.push_str(symbol);
            ends.push(text.len());
        })?;
        Ok(Texts {
            numbers,
            text,
            ends,
        })
    }

    fn at(&self, at: usize) -> &str {
        &self.text[self.ends[at]..self.ends[at + 1]]
    }

    /// "" for a number that no label has.
    fn get(&self, number: u32) -> &str {
        match self.numbers.binary_search(&number) {
            Ok(at) => self.at(at),
            Err(_) => "",
        }
    }

    /// Strings ascend with their numbers, in a sound index.
    fn find(&self, text: &str) -> Option<u32> {
        let at = (0..self.numbers.len()).find(|&at| self.at(at) == text)?;
        Some(self.numbers[at])
    }

    /// numbers: ascending, so that codes are ranks in a sound index.
    fn dictionary(&self, numbers: &[u32]) -> Dictionary {
        Dictionary::from_distinct(numbers.iter().map(|&number| self.get(number)))
    }
}

const DISTINCT_AT: usize = 1 << 16;
