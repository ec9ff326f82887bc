//! Reads all of a block and says what is wrong with it: every checksum, every order, and that index and chunks agree.
//!
//! Damage of one thing does not stop the rest: series are found through the list of all, chunks through their
//! references. The samples of each chunk are decoded. In memory: ids of all series, and for each label pair a count and
//! a sum that its postings list must give too.

use std::io::ErrorKind;
use std::path::Path;

use hashbrown::HashMap;
use xxhash_rust::xxh64::xxh64;

use super::index::Index;
use super::segments::{ChunkCursor, SegmentReader, samples_of};
use super::series::{ChunkMeta, SeriesEntry};
use super::source::Stream;
use super::writer::BlockStats;
use super::{BlockError, series, tombstones};
use crate::codec::Damaged;
use crate::codec::histogram::{self, looks::Looks};
use crate::codec::xor;

/// Problems that are named; the others are counted.
const NAMED_MAX: usize = 100;

#[derive(Debug, Default)]
pub struct Report {
    pub stats: BlockStats,
    pub problems: Vec<String>,
    pub problem_count: u64,
    /// Intervals that are deleted.
    pub tombstones: u64,
}

impl Report {
    fn add(&mut self, problem: String) {
        self.problem_count += 1;
        if self.problems.len() < NAMED_MAX {
            self.problems.push(problem);
        }
    }

    /// Note damage; other errors (the disk fails) end the work.
    fn note<T>(&mut self, result: Result<T, BlockError>) -> Result<Option<T>, BlockError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(BlockError::Io(error, path)) if error.kind() == ErrorKind::NotFound => {
                self.add(format!("{}: there is no such file", path.display()));
                Ok(None)
            }
            Err(error @ BlockError::Io(..)) => Err(error),
            Err(error) => {
                self.add(error.to_string());
                Ok(None)
            }
        }
    }
}

/// How many ids a list has, and a sum of them in which order does not matter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Digest {
    count: u64,
    sum: u64,
}

impl Digest {
    fn add(&mut self, id: u32) {
        self.count += 1;
        let mixed = (u64::from(id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.sum = self.sum.wrapping_add(mixed ^ mixed >> 29);
    }
}

/// Err: a file cannot be read at all, for a reason that is not damage.
pub fn verify(directory: &Path) -> Result<Report, BlockError> {
    let mut report = Report::default();
    let segments = report.note(SegmentReader::open(&directory.join("chunks")))?;
    let index = report.note(Index::open(&directory.join("index")))?;
    verify_tombstones(&mut report, directory)?;
    if let Some(index) = index {
        verify_symbols(&mut report, &index)?;
        let mut pairs = HashMap::new();
        let ids = verify_series(&mut report, &index, segments.as_ref(), &mut pairs)?;
        verify_postings(&mut report, &index, &ids, &pairs)?;
    }
    Ok(report)
}

fn verify_tombstones(report: &mut Report, directory: &Path) -> Result<(), BlockError> {
    let path = directory.join("tombstones");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(super::io_at(&path)(error)),
    };
    match tombstones::decode(&bytes) {
        Ok(found) => report.tombstones = found.len() as u64,
        Err(what) => report.add(format!("{}: {what}", path.display())),
    }
    Ok(())
}

fn verify_symbols(report: &mut Report, index: &Index) -> Result<(), BlockError> {
    let mut symbols = index.symbols.iter();
    let mut before: Option<String> = None;
    loop {
        let next = symbols.next_text().map(|text| text.map(str::to_owned));
        let Some(Some(text)) = report.note(next)? else {
            return Ok(());
        };
        if before.as_ref().is_some_and(|before| *before >= text) {
            report.add(format!("index: symbol {text:?} is not in order"));
        }
        before = Some(text);
    }
}

/// Ids of all series, from the list of all; where that is damaged, as far as the section can be read.
fn ids_of(report: &mut Report, index: &Index) -> Result<Vec<u32>, BlockError> {
    let mut ids = Vec::new();
    let Some(all) = index.table.all() else {
        report.add("index: there is no list of all series".into());
        return Ok(ids);
    };
    if report.note(index.read_list(all, &mut ids))?.is_some() {
        return Ok(ids);
    }
    ids.clear();
    let (mut cursor, mut entry) = (index.series_in_order(), SeriesEntry::default());
    while report.note(cursor.read_next(&mut entry))? == Some(true) {
        ids.push(entry.id);
    }
    Ok(ids)
}

fn verify_series(
    report: &mut Report,
    index: &Index,
    segments: Option<&SegmentReader>,
    pairs: &mut HashMap<(u32, u32), Digest>,
) -> Result<Vec<u32>, BlockError> {
    let ids = ids_of(report, index)?;
    let mut stream = Stream::new(&*index.source, index.toc.series, index.toc.series_end());
    let mut entry = SeriesEntry::default();
    let mut order = Order::default();
    let mut chunks = segments.map(SegmentReader::cursor);
    for &id in &ids {
        let at = u64::from(id) * super::layout::SERIES_ALIGN;
        if at < index.toc.series || at >= stream.end() {
            report.add(format!("index: series {id} is not where series are"));
            continue;
        }
        stream.seek(at);
        if report
            .note(series::read(&mut stream, &mut entry))?
            .is_none()
        {
            continue;
        }
        report.stats.series += 1;
        for problem in order.check(&entry, index.symbols.len()) {
            report.add(format!("index at byte {at}: {problem}"));
        }
        for &label in &entry.labels {
            pairs.entry(label).or_default().add(id);
        }
        if let Some(chunks) = &mut chunks {
            for chunk in &entry.chunks {
                let checked = verify_chunk(report, chunks, chunk);
                report.note(checked)?;
            }
        }
    }
    verify_no_others(report, index, ids.len())?;
    Ok(ids)
}

/// The section must not have series that the list of all lacks.
fn verify_no_others(report: &mut Report, index: &Index, count: usize) -> Result<(), BlockError> {
    let (mut cursor, mut entry) = (index.series_in_order(), SeriesEntry::default());
    let mut found = 0;
    loop {
        match cursor.read_next(&mut entry) {
            Ok(true) => found += 1,
            Ok(false) => break,
            // Told already.
            Err(BlockError::Damaged(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    if found != count {
        report.add(format!(
            "index: the list of all has {count} series of {found}"
        ));
    }
    Ok(())
}

/// What must hold from series to series.
#[derive(Default)]
struct Order {
    labels: Vec<(u32, u32)>,
    reference: u64,
}

impl Order {
    fn check(&mut self, entry: &SeriesEntry, symbols: usize) -> Vec<&'static str> {
        let mut problems = Vec::new();
        if entry.labels.is_empty() {
            problems.push("a series has no labels");
        }
        if entry.labels <= self.labels {
            problems.push("a series does not follow the one before it");
        }
        let numbers = entry.labels.iter().flat_map(|&(name, value)| [name, value]);
        if numbers.into_iter().any(|number| number as usize >= symbols) {
            problems.push("a series has a symbol that is not there");
        }
        if entry.chunks.is_empty() {
            problems.push("a series has no chunks");
        }
        if entry.chunks.windows(2).any(|c| c[0].maxt >= c[1].mint) {
            problems.push("chunks of a series overlap");
        }
        for chunk in &entry.chunks {
            if chunk.reference < self.reference {
                problems.push("the references of chunks do not ascend");
            }
            self.reference = chunk.reference;
        }
        self.labels.clone_from(&entry.labels);
        problems
    }
}

/// Read and decode a chunk, count it, and hold its times against the index.
fn verify_chunk(
    report: &mut Report,
    chunks: &mut ChunkCursor<'_>,
    meta: &ChunkMeta,
) -> Result<(), BlockError> {
    let mut data = Vec::new();
    let encoding = chunks.read(meta.reference, &mut data)?;
    let at = |what: Damaged| {
        let (segment, offset) = (meta.segment() + 1, meta.offset());
        BlockError::Damaged(format!("chunks/{segment:06} at byte {offset}: {what}"))
    };
    let (count, histograms) = samples_of(encoding, &data).map_err(at)?;
    report
        .stats
        .add_chunk(meta.mint, meta.maxt, count, histograms);
    let Some(ts) = times(encoding, &data).map_err(at)? else {
        return Ok(());
    };
    if !ts.is_sorted_by(|a, b| a < b) {
        return Err(at(Damaged("the samples of a chunk do not ascend")));
    }
    if (ts.first(), ts.last()) != (Some(&meta.mint), Some(&meta.maxt)) {
        return Err(at(Damaged("a chunk's times are not those in the index")));
    }
    Ok(())
}

/// Times of samples; None for encodings that are not decoded here.
fn times(encoding: u8, data: &[u8]) -> Result<Option<Vec<i64>>, Damaged> {
    let (mut ts, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    match encoding {
        1 => xor::decode_into(data, i64::MIN, i64::MAX, &mut ts, &mut values)?,
        2 | 3 => histogram::read::decode_into(
            encoding,
            data,
            i64::MIN,
            i64::MAX,
            &Looks::ALL,
            &mut ts,
            &mut histograms,
        )?,
        _ => return Ok(None),
    }
    Ok(Some(ts))
}

/// A label pair by hashes of its strings: no strings are kept.
type PairHash = (u64, u64);

fn hashed(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

/// What the series say of their label pairs, by the strings that the table of postings has.
fn digests(
    report: &mut Report,
    index: &Index,
    pairs: &HashMap<(u32, u32), Digest>,
) -> Result<Option<HashMap<PairHash, Digest>>, BlockError> {
    let mut numbers: Vec<u32> = pairs
        .keys()
        .flat_map(|&(name, value)| [name, value])
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut hashes: HashMap<u32, u64> = HashMap::with_capacity(numbers.len());
    let resolved = index.symbols.resolve(&numbers, |number, text| {
        hashes.insert(number, hashed(text));
    });
    if report.note(resolved)?.is_none() {
        return Ok(None);
    }
    let hash = |number: u32| hashes.get(&number).copied().unwrap_or_default();
    let by_hash = pairs
        .iter()
        .map(|(&(name, value), &digest)| ((hash(name), hash(value)), digest));
    Ok(Some(by_hash.collect()))
}

/// The lists of all label pairs against what the series say.
fn verify_postings(
    report: &mut Report,
    index: &Index,
    ids: &[u32],
    pairs: &HashMap<(u32, u32), Digest>,
) -> Result<(), BlockError> {
    let Some(wanted) = digests(report, index, pairs)? else {
        return Ok(());
    };
    let (mut lists, mut list) = (0, Vec::new());
    for name in index.table.label_names() {
        let mut failed = None;
        let read = index.table.values_from(name, "", |value, span| {
            lists += 1;
            list.clear();
            match report.note(index.read_list(span, &mut list)) {
                Ok(None) => return true,
                Ok(Some(())) => {}
                Err(error) => {
                    failed = Some(error);
                    return false;
                }
            }
            let mut digest = Digest::default();
            list.iter().for_each(|&id| digest.add(id));
            if wanted.get(&(hashed(name), hashed(value))) != Some(&digest) {
                report.add(format!(
                    "index at byte {}: the list of {name}={value:?} is not that of the series",
                    span.start
                ));
            }
            true
        });
        report.note(failed.map_or(read, Err))?;
    }
    if lists != wanted.len() {
        report.add(format!(
            "index: {lists} label pairs have lists, {} are in its {} series",
            wanted.len(),
            ids.len()
        ));
    }
    Ok(())
}
