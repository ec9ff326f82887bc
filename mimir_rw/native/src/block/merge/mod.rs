//! Compaction: series of several blocks merged into one block, or into one for each shard.
//!
//! ```text
//! sources ── symbols (one table) ── series (side by side, by labels) ── chunks (of one series) ── writers (by hash)
//! ```
//!
//! Everything streams but the symbols, where they are in the one table (4 bytes for each symbol of each source), and
//! what a writer keeps for postings (4 bytes for each label of each series). With several outputs the series of all
//! sources are read once before, so that each output has those symbols only that it uses.

pub mod chunks;
pub mod python;
pub mod series;
pub mod symbols;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use xxhash_rust::xxh64::xxh64;

use super::series::ChunkMeta;
use super::{BlockError, BlockReader, BlockStats, BlockWriter, ChunkRef};
use chunks::SeriesChunks;
use series::Places;
use symbols::{Union, Used};

/// Why blocks cannot be merged.
#[derive(Debug)]
pub enum MergeError {
    /// The source with this number cannot be read.
    Source(usize, BlockError),
    Output(String),
    /// Writing failed.
    Write(BlockError),
}

impl MergeError {
    fn of(source: usize) -> impl Fn(BlockError) -> Self {
        move |error| Self::Source(source, error)
    }

    fn damaged(source: usize, what: impl std::fmt::Display) -> Self {
        Self::Source(source, BlockError::Damaged(what.to_string()))
    }
}

/// A block to be merged.
#[derive(Clone, Debug)]
pub struct Source {
    pub directory: PathBuf,
    /// Of the block; no sample may be outside.
    pub mint: i64,
    /// Exclusive.
    pub maxt: i64,
}

/// Merge the blocks of directories into new ones: each output is an empty directory. A series goes to the output with
/// the number that its hash leaves when divided by how many there are. Statistics of each output.
pub fn compact(
    sources: &[Source],
    outputs: &[PathBuf],
    segment_bytes: u64,
) -> Result<Vec<BlockStats>, MergeError> {
    let mut readers = Vec::with_capacity(sources.len());
    for (at, source) in sources.iter().enumerate() {
        readers.push(BlockReader::open(&source.directory).map_err(MergeError::of(at))?);
    }
    let union = Union::of(&readers)?;
    let mut shards = Shards::of(outputs.len(), &readers, &union)?;
    let mut writers = Vec::with_capacity(outputs.len());
    for (number, path) in outputs.iter().enumerate() {
        let symbols = (1..union.count() as u32).filter(|&symbol| shards.uses(number, symbol));
        let texts = symbols.map(|symbol| union.get(symbol));
        let writer = BlockWriter::create(path, texts, segment_bytes);
        writers.push(writer.map_err(MergeError::Write)?);
    }
    let mut places = Places::start(&readers, &union)?;
    let mut here = Vec::with_capacity(readers.len());
    let mut merged = SeriesChunks::default();
    while places.next_series(&mut here) {
        merged.clear();
        for &at in &here {
            let place = &mut places.each[at];
            check_times(at, &sources[at], &place.entry.chunks)?;
            merged.read(at, &place.entry.chunks, &mut place.chunks)?;
        }
        merged.merge()?;
        let chunks: Vec<ChunkRef<'_>> = merged.result().collect();
        if !chunks.is_empty() {
            let labels = &places.each[here[0]].entry.labels;
            let number = shards.number_of(labels, &union);
            let labels = shards.renumbered(number, labels);
            let written = writers[number].series_by_symbols(labels, &chunks);
            written.map_err(MergeError::Write)?;
        }
        for &at in &here {
            places.advance(at)?;
        }
    }
    let finished = writers.into_iter().map(BlockWriter::finish);
    finished
        .collect::<Result<_, _>>()
        .map_err(MergeError::Write)
}

fn check_times(at: usize, source: &Source, chunks: &[ChunkMeta]) -> Result<(), MergeError> {
    let outside = |chunk: &&ChunkMeta| chunk.mint < source.mint || chunk.maxt >= source.maxt;
    match chunks.iter().find(outside) {
        None => Ok(()),
        Some(chunk) => Err(MergeError::damaged(
            at,
            format!(
                "a chunk of {}..{} is outside of the block's time, {}..{}",
                chunk.mint, chunk.maxt, source.mint, source.maxt
            ),
        )),
    }
}

/// Which output a series goes to, and what numbers its symbols have there.
struct Shards {
    count: usize,
    /// Of each output; none for a single one, which has all symbols.
    used: Vec<Used>,
    buffer: Vec<u8>,
    labels: Vec<(u32, u32)>,
}

impl Shards {
    fn of(count: usize, sources: &[BlockReader], union: &Union) -> Result<Self, MergeError> {
        let mut shards = Shards {
            count: count.max(1),
            used: Vec::new(),
            buffer: Vec::new(),
            labels: Vec::new(),
        };
        if count > 1 {
            let mut used: Vec<Used> = (0..count).map(|_| Used::none_of(union.count())).collect();
            let mut places = Places::start(sources, union)?;
            for at in 0..sources.len() {
                while !places.each[at].ended {
                    let labels = &places.each[at].entry.labels;
                    let of = &mut used[shards.number_of(labels, union)];
                    for &(name, value) in labels {
                        of.mark(name);
                        of.mark(value);
                    }
                    places.advance(at)?;
                }
            }
            used.iter_mut().for_each(Used::settle);
            shards.used = used;
        }
        Ok(shards)
    }

    fn uses(&self, output: usize, symbol: u32) -> bool {
        self.used.get(output).is_none_or(|used| used.has(symbol))
    }

    fn number_of(&mut self, labels: &[(u32, u32)], union: &Union) -> usize {
        if self.count == 1 {
            return 0;
        }
        self.buffer.clear();
        for &(name, value) in labels {
            for text in [name, value] {
                self.buffer.extend_from_slice(union.get(text).as_bytes());
                self.buffer.push(0xff);
            }
        }
        (xxh64(&self.buffer, 0) % self.count as u64) as usize
    }

    fn renumbered<'a>(&'a mut self, output: usize, labels: &'a [(u32, u32)]) -> &'a [(u32, u32)] {
        let Some(used) = self.used.get(output) else {
            return labels;
        };
        self.labels.clear();
        let numbers = labels
            .iter()
            .map(|&(name, value)| (used.rank(name), used.rank(value)));
        self.labels.extend(numbers);
        &self.labels
    }
}
