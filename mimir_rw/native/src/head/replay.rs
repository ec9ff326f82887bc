//! Replay of the logs into an empty table, step by step and in bounded memory (wal.md sections 4 and 8).
//!
//! Order: newest checkpoint, WAL segments after it, then the out-of-order log. A record that was never finished at
//! the end of a log is cut off and counted. Where bytes inside a log are damaged, everything before them is kept, the
//! segment is cut there (what is cut goes to a file beside it) and later segments of that log are set aside by name.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;

use super::identity;
use super::lookup::BLOCK;
use super::postings::{HashKey, put_canonical};
use super::series::SeriesTable;
use super::wal::fs::{AppendFile, LogFs, segment_path};
use super::wal::read::{SegmentReader, Step};
use super::wal::record::{self, RecordSink};
use crate::batch::Exemplar;
use crate::codec::Damaged;
use crate::histogram::Histogram;
use crate::wire::series::{SeriesHasher, TokenHasher};

/// What replay found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub segments: u64,
    pub records: u64,
    /// Floats and histograms.
    pub samples: u64,
    pub samples_unknown_series: u64,
    pub exemplars: u64,
    pub records_unknown: u64,
    /// Records that were never finished, and their bytes.
    pub torn: u64,
    pub torn_bytes: u64,
    /// One line per damaged segment (what and where, and what became of it) or run of missing ones.
    pub damage: Vec<String>,
}

#[derive(Debug)]
pub enum ReplayError {
    Io(String),
    /// The logs need an operator.
    Fatal(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Checkpoint,
    Wal,
    Wbl,
}

#[derive(Clone, Debug)]
pub struct Segment {
    kind: Kind,
    pub path: PathBuf,
    bytes: u64,
}

pub struct Replay {
    fs: Arc<dyn LogFs>,
    queue: VecDeque<Segment>,
    current: Option<(Segment, SegmentReader)>,
    refs: RefMap,
    hasher: SeriesHasher,
    tokens: TokenHasher,
    /// In-order samples before this time are in blocks.
    floor: i64,
    pub done_bytes: u64,
    pub total_bytes: u64,
    pub report: Report,
    /// Number of the next segment of each log.
    pub next_wal: u32,
    pub next_wbl: u32,
}

/// References that logs use for series which have another one now.
pub type Aliases = HashMap<u64, u64>;

/// Series by log reference, where that is not `sid + 1`: aliases and logs with gaps.
#[derive(Default)]
struct RefMap(HashMap<u64, u32>);

impl RefMap {
    /// References of series that have another one now, and that one.
    fn aliases(&self, table: &SeriesTable) -> Aliases {
        let known = self.0.iter().map(|(&old, &sid)| (old, table.ref_of(sid)));
        known.filter(|(old, now)| old != now).collect()
    }

    fn sid(&self, table: &SeriesTable, reference: u64) -> Option<u32> {
        if !self.0.is_empty()
            && let Some(&sid) = self.0.get(&reference)
        {
            return Some(sid);
        }
        let sid = u32::try_from(reference.checked_sub(1)?).ok()?;
        ((sid as usize) < table.len() && table.ref_of(sid) == reference).then_some(sid)
    }
}

impl Replay {
    pub fn new(
        fs: Arc<dyn LogFs>,
        wal: &Path,
        wbl: &Path,
        key: &HashKey,
        tenant: &str,
        floor: i64,
    ) -> Result<Self, ReplayError> {
        let mut queue = VecDeque::new();
        let checkpoint = newest_checkpoint(&*fs, wal)?;
        if let Some((_, dir)) = &checkpoint {
            queue.extend(
                segments(&*fs, dir, Kind::Checkpoint)?
                    .into_iter()
                    .map(|s| s.1),
            );
        }
        let folded = checkpoint.map(|(number, _)| number);
        let wal_segments = segments(&*fs, wal, Kind::Wal)?;
        let next_wal = wal_segments
            .last()
            .map(|s| s.0)
            .or(folded)
            .map_or(0, |n| n + 1);
        let mut live = wal_segments;
        live.retain(|s| folded.is_none_or(|f| s.0 > f));
        let mut damage = gaps(wal, &live);
        if let (Some(folded), Some((first, _))) = (folded, live.first())
            && *first > folded + 1
        {
            let (from, to) = (folded + 1, first - 1);
            damage.push(format!(
                "{}: segments {from} to {to} are missing",
                wal.display()
            ));
        }
        queue.extend(live.into_iter().map(|s| s.1));
        let wbl_segments = segments(&*fs, wbl, Kind::Wbl)?;
        let next_wbl = wbl_segments.last().map_or(0, |s| s.0 + 1);
        damage.extend(gaps(wbl, &wbl_segments));
        queue.extend(wbl_segments.into_iter().map(|s| s.1));
        Ok(Replay {
            total_bytes: queue.iter().map(|s: &Segment| s.bytes).sum(),
            fs,
            queue,
            current: None,
            refs: RefMap::default(),
            hasher: SeriesHasher::new(key),
            tokens: TokenHasher::new(tenant),
            floor,
            done_bytes: 0,
            report: Report {
                damage,
                ..Report::default()
            },
            next_wal,
            next_wbl,
        })
    }

    /// See `Aliases`; the replay is done.
    pub fn aliases(&self, table: &SeriesTable) -> Aliases {
        self.refs.aliases(table)
    }

    /// Hash the series that are still to come with another key.
    pub fn rekey(&mut self, hasher: SeriesHasher) {
        self.hasher = hasher;
    }

    /// Replay about `bytes_max` more bytes; true when all is done.
    pub fn step(&mut self, table: &mut SeriesTable, bytes_max: u64) -> Result<bool, ReplayError> {
        let mut budget = bytes_max as i64;
        while budget > 0 {
            let Some((segment, mut reader)) = self.take_reader()? else {
                return Ok(true);
            };
            let before = reader.offset();
            let ended = self.read_some(&segment, &mut reader, table, budget as u64)?;
            let read = reader.offset() - before;
            self.done_bytes = (self.done_bytes + read).min(self.total_bytes);
            budget -= read.max(1) as i64;
            if !ended {
                self.current = Some((segment, reader));
            }
        }
        Ok(self.current.is_none() && self.queue.is_empty())
    }

    fn take_reader(&mut self) -> Result<Option<(Segment, SegmentReader)>, ReplayError> {
        if let Some(current) = self.current.take() {
            return Ok(Some(current));
        }
        let Some(segment) = self.queue.pop_front() else {
            return Ok(None);
        };
        let input = self
            .fs
            .read(&segment.path)
            .map_err(|e| io_error(&segment.path, &e))?;
        self.report.segments += 1;
        Ok(Some((segment, SegmentReader::new(input))))
    }

    /// Read records until the budget is used or the segment ended (true).
    fn read_some(
        &mut self,
        segment: &Segment,
        reader: &mut SegmentReader,
        table: &mut SeriesTable,
        bytes_max: u64,
    ) -> Result<bool, ReplayError> {
        let until = reader.offset().saturating_add(bytes_max);
        while reader.offset() < until {
            let record_start = reader.good_end();
            let damage = match reader.step().map_err(|e| io_error(&segment.path, &e))? {
                Step::Record(bytes) => {
                    self.report.records += 1;
                    let mut sink = Sink {
                        table,
                        refs: &mut self.refs,
                        report: &mut self.report,
                        hasher: &self.hasher,
                        tokens: &self.tokens,
                        canonical: Vec::new(),
                        ooo: segment.kind == Kind::Wbl,
                        floor: match segment.kind {
                            Kind::Wbl => i64::MIN,
                            _ => self.floor,
                        },
                        block: Vec::new(),
                    };
                    let decoded = record::decode(bytes, &mut sink);
                    sink.flush();
                    decoded.err().map(|e| (record_start, e.0))
                }
                Step::End { torn } => {
                    if torn > 0 {
                        self.torn_tail(segment, reader.good_end(), torn)?;
                    }
                    return Ok(true);
                }
                Step::Corrupt(why) => Some((reader.good_end(), why)),
                Step::Unsupported(why) => {
                    let path = segment.path.display();
                    return Err(ReplayError::Fatal(format!("{path}: {why}")));
                }
            };
            if let Some((offset, why)) = damage {
                self.repair(segment, offset, why)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_last_of_its_log(&self, segment: &Segment) -> bool {
        self.queue.iter().all(|s| s.kind != segment.kind)
    }

    fn torn_tail(&mut self, segment: &Segment, good: u64, torn: u64) -> Result<(), ReplayError> {
        self.report.torn += 1;
        self.report.torn_bytes += torn;
        if segment.kind != Kind::Checkpoint && self.is_last_of_its_log(segment) {
            self.cut(segment, good)?;
        }
        Ok(())
    }

    fn repair(&mut self, segment: &Segment, offset: u64, why: &str) -> Result<(), ReplayError> {
        let path = segment.path.display();
        if segment.kind == Kind::Checkpoint {
            return Err(ReplayError::Fatal(format!(
                "checkpoint {path} is damaged at {offset}: {why}"
            )));
        }
        let saved = free_name(&*self.fs, &segment.path, &format!("cut-{offset}"))?;
        if let Err(e) = self.save_tail(segment, offset, &saved) {
            // Half a copy is worth nothing, and may be what takes the last of the room.
            let _ = self.fs.remove(&saved);
            return Err(ReplayError::Io(format!(
                "{path} is damaged at {offset}: {why}; nothing is cut, because what follows cannot be kept: {e}"
            )));
        }
        self.cut(segment, offset)?;
        let mut line = format!("{path} is damaged at {offset}: {why}; cut there");
        line += &format!(", the rest is kept as {}", saved.display());
        let (later, others) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|s: &Segment| s.kind == segment.kind);
        self.queue = others;
        for segment in &later {
            let aside = free_name(&*self.fs, &segment.path, "set-aside")?;
            self.fs
                .rename(&segment.path, &aside)
                .map_err(|e| io_error(&segment.path, &e))?;
            self.done_bytes += segment.bytes;
            line += &format!("; {} is set aside", segment.path.display());
        }
        let next = match segment.kind {
            Kind::Wbl => &mut self.next_wbl,
            _ => &mut self.next_wal,
        };
        *next -= later.len() as u32;
        self.report.damage.push(line);
        Ok(())
    }

    fn save_tail(&self, segment: &Segment, offset: u64, to: &Path) -> io::Result<()> {
        let mut input = self.fs.read(&segment.path)?;
        io::copy(&mut input.by_ref().take(offset), &mut io::sink())?;
        let mut out = AppendWriter(self.fs.create(to)?);
        io::copy(&mut input, &mut out)?;
        // It has to be on the disk before the cut is.
        out.0.sync()
    }

    fn cut(&self, segment: &Segment, len: u64) -> Result<(), ReplayError> {
        let cut = self.fs.append(&segment.path).and_then(|mut file| {
            file.truncate(len)?;
            file.sync()
        });
        cut.map_err(|e| io_error(&segment.path, &e))
    }
}

struct AppendWriter(Box<dyn AppendFile>);

impl io::Write for AppendWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn io_error(path: &Path, e: &io::Error) -> ReplayError {
    ReplayError::Io(format!("{}: {e}", path.display()))
}

/// `path.suffix`, or with a number behind it when that exists.
fn free_name(fs: &dyn LogFs, path: &Path, suffix: &str) -> Result<PathBuf, ReplayError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let taken = fs.list(dir).map_err(|e| io_error(dir, &e))?;
    let base = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let mut name = format!("{base}.{suffix}");
    let mut n = 1;
    while taken.iter().any(|(other, _)| *other == name) {
        name = format!("{base}.{suffix}.{n}");
        n += 1;
    }
    Ok(dir.join(name))
}

/// Segments of a directory by number.
pub fn segments(
    fs: &dyn LogFs,
    dir: &Path,
    kind: Kind,
) -> Result<Vec<(u32, Segment)>, ReplayError> {
    let mut found = Vec::new();
    for (name, bytes) in fs.list(dir).map_err(|e| io_error(dir, &e))? {
        let digits = name.len() == 8 && name.bytes().all(|b| b.is_ascii_digit());
        let Some(number) = digits.then(|| name.parse().ok()).flatten() else {
            continue;
        };
        let path = segment_path(dir, number);
        // Passing over it would lose what it holds, or stand in the way of the segment that gets its number.
        let Some(bytes) = bytes else {
            let text = format!("{} has a segment's name and is no file", path.display());
            return Err(ReplayError::Fatal(text));
        };
        found.push((number, Segment { kind, path, bytes }));
    }
    found.sort_by_key(|s: &(u32, Segment)| s.0);
    Ok(found)
}

/// A line for each run of numbers that is missing between segments.
fn gaps(dir: &Path, found: &[(u32, Segment)]) -> Vec<String> {
    let gaps = found.windows(2).filter(|pair| pair[0].0 + 1 != pair[1].0);
    gaps.map(|pair| {
        let (first, last) = (pair[0].0 + 1, pair[1].0 - 1);
        format!("{}: segments {first} to {last} are missing", dir.display())
    })
    .collect()
}

pub fn newest_checkpoint(
    fs: &dyn LogFs,
    wal: &Path,
) -> Result<Option<(u32, PathBuf)>, ReplayError> {
    let listed = fs.list(wal).map_err(|e| io_error(wal, &e))?;
    let numbers = listed.iter().filter(|(_, bytes)| bytes.is_none());
    let newest = numbers
        .filter_map(|(name, _)| Some((name.strip_prefix("checkpoint.")?.parse().ok()?, name)))
        .max();
    Ok(newest.map(|(number, name): (u32, _)| (number, wal.join(name))))
}

struct Sink<'a> {
    table: &'a mut SeriesTable,
    refs: &'a mut RefMap,
    report: &'a mut Report,
    hasher: &'a SeriesHasher,
    tokens: &'a TokenHasher,
    canonical: Vec<u8>,
    ooo: bool,
    /// Older samples are passed over.
    floor: i64,
    /// Samples to apply together, so that their loads overlap.
    block: Vec<(u32, i64, u64)>,
}

impl Sink<'_> {
    fn flush(&mut self) {
        let sids = self.block.iter().map(|s| s.0);
        black_box(self.table.touch_blocks(sids));
        for (sid, t, v) in self.block.drain(..) {
            if self.ooo {
                self.table.insert_ooo(sid, t, v);
                continue;
            }
            let last = self.table.last(sid);
            if !last.any || t > last.t {
                self.table.append(sid, t, v);
            }
        }
    }
}

impl RecordSink for Sink<'_> {
    fn series(&mut self, reference: u64, labels: &[(&str, &str)]) -> Result<(), Damaged> {
        let mut sorted;
        let ascending = labels.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let labels = if ascending && labels.iter().all(|l| !l.1.is_empty()) {
            labels
        } else {
            sorted = labels.to_vec();
            sorted.retain(|l| !l.1.is_empty());
            sorted.sort_by_key(|l| l.0);
            sorted.dedup_by_key(|l| l.0);
            &sorted[..]
        };
        self.canonical.clear();
        for (name, value) in labels {
            put_canonical(&mut self.canonical, name, value);
        }
        let hash = self.hasher.hash(&self.canonical);
        let next = self.table.len() as u32;
        if let Some(sid) = self.table.find(hash) {
            self.table.raise_ref_max(reference);
            if self.table.ref_of(sid) != reference {
                self.refs.0.insert(reference, sid);
            }
            return Ok(());
        }
        if next == u32::MAX - 1 {
            return Err(Damaged("more series than a head can hold"));
        }
        let bytes = labels.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let token = self.tokens.token(bytes);
        let sid = self
            .table
            .create(reference, hash, token, labels.iter().copied());
        if reference != u64::from(sid) + 1 {
            self.refs.0.insert(reference, sid);
        }
        Ok(())
    }

    fn sample(&mut self, reference: u64, t: i64, v: u64) {
        if t < self.floor {
            return;
        }
        let Some(sid) = self.refs.sid(self.table, reference) else {
            self.report.samples_unknown_series += 1;
            return;
        };
        self.report.samples += 1;
        self.block.push((sid, t, v));
        if self.block.len() == BLOCK {
            self.flush();
        }
    }

    fn histogram(&mut self, reference: u64, t: i64, histogram: Histogram) {
        if t < self.floor {
            return;
        }
        let Some(sid) = self.refs.sid(self.table, reference) else {
            self.report.samples_unknown_series += 1;
            return;
        };
        self.report.samples += 1;
        self.flush();
        if self.ooo {
            self.table
                .insert_ooo_histogram(sid, t, &Arc::new(histogram));
            return;
        }
        let last = self.table.last(sid);
        if !last.any || t > last.t {
            let identity = identity::of_histogram(&histogram);
            self.table.append_histogram(sid, t, &histogram, identity);
        }
    }

    fn exemplar(&mut self, reference: u64, exemplar: Exemplar) {
        if exemplar.ts >= self.floor
            && let Some(sid) = self.refs.sid(self.table, reference)
        {
            self.report.exemplars += 1;
            self.table.exemplars.add(sid, &Arc::new(exemplar));
        }
    }

    fn reference_seen(&mut self, reference: u64) {
        self.table.raise_ref_max(reference);
    }

    fn unknown(&mut self, _kind: u8) {
        self.report.records_unknown += 1;
    }
}
