//! The older part of the WAL, folded into what is still needed of it (wal.md section 7).
//!
//! ```text
//! wal/checkpoint.00000003/   wal/00000004 .. 00000009   10 is being written
//!         └──── with 4 to 7, two thirds of the full ones ────► wal/checkpoint.00000007.tmp, synced,
//!                                 renamed; then 4 to 7 go, then the checkpoint before
//! ```
//!
//! A crash before the rename leaves a directory that nobody reads and the next checkpoint removes; one after it leaves
//! segments that replay passes over, because the checkpoint's number covers them. Samples are kept from the floor on,
//! under the references that their series have now; series as long as they are in the head.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::replay::{Aliases, Kind, ReplayError, newest_checkpoint, segments};
use super::wal::fs::LogFs;
use super::wal::log::{Log, LogError, LogOptions};
use super::wal::read::{SegmentReader, Step};
use super::wal::record::{self, HistogramKind, RecordSink};
use crate::batch::Exemplar;
use crate::codec::Damaged;
use crate::histogram::Histogram;

/// Bytes of records that are written together.
const GROUP_BYTES: usize = 1 << 20;

/// What decides what is kept.
pub struct Keep {
    /// Samples from this time on.
    pub floor: i64,
    /// References of the series in the head, ascending.
    pub live: Vec<u64>,
    pub aliases: Aliases,
    /// Segments from this one on use no aliases.
    pub aliases_end: u32,
    pub ref_max: u64,
}

impl Keep {
    fn is_live(&self, reference: u64) -> bool {
        self.live.binary_search(&reference).is_ok()
    }

    /// What a series in the head is called now.
    fn now(&self, reference: u64) -> Option<u64> {
        if self.is_live(reference) {
            return Some(reference);
        }
        let now = *self.aliases.get(&reference)?;
        self.is_live(now).then_some(now)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Number of the last segment in the checkpoint.
    pub last: u32,
    pub segments: u32,
}

/// Fold the segments before `active`, if there are enough of them; all of them when no series is left. On an error the
/// log is as good as before.
pub fn fold(
    fs: &Arc<dyn LogFs>,
    wal: &Path,
    options: LogOptions,
    active: u32,
    keep: &Keep,
) -> Result<Option<Folded>, ReplayError> {
    sweep(&**fs, wal, None)?;
    let mut full = segments(&**fs, wal, Kind::Wal)?;
    let before = newest_checkpoint(&**fs, wal)?;
    let covered = before.as_ref().map(|(number, _)| *number);
    full.retain(|(number, _)| *number < active && covered.is_none_or(|c| *number > c));
    let (Some(first), Some(end)) = (full.first().map(|s| s.0), full.last().map(|s| s.0)) else {
        return Ok(None);
    };
    let last = match keep.live.is_empty() {
        true => end,
        false => first + (end - first) * 2 / 3,
    };
    if last <= first && !keep.live.is_empty() {
        return Ok(None);
    }
    full.retain(|(number, _)| *number <= last);
    let mut inputs: Vec<PathBuf> = Vec::new();
    if let Some((_, dir)) = &before {
        let old = segments(&**fs, dir, Kind::Checkpoint)?;
        inputs.extend(old.into_iter().map(|(_, segment)| segment.path));
    }
    inputs.extend(full.iter().map(|(_, segment)| segment.path.clone()));
    let name = format!("checkpoint.{last:08}");
    let temporary = wal.join(format!("{name}.tmp"));
    write(fs, &temporary, options, &inputs, last, keep)?;
    let rename = || {
        fs.rename(&temporary, &wal.join(&name))?;
        fs.sync_dir(wal)
    };
    rename().map_err(|e| failed(wal, &e))?;
    sweep(&**fs, wal, Some(last))?;
    Ok(Some(Folded {
        last,
        segments: full.len() as u32,
    }))
}

/// Remove checkpoints that were never finished, and what a checkpoint with this number stands for.
fn sweep(fs: &dyn LogFs, wal: &Path, last: Option<u32>) -> Result<(), ReplayError> {
    let remove = || -> io::Result<()> {
        let listed = fs.list(wal)?;
        let older = |digits: &str| {
            let number = (digits.len() == 8)
                .then(|| digits.parse::<u32>().ok())
                .flatten();
            number.is_some_and(|number| last.is_some_and(|last| number <= last))
        };
        for (name, _) in listed
            .iter()
            .filter(|(name, bytes)| bytes.is_some() && older(name))
        {
            fs.remove(&wal.join(name))?;
        }
        for (name, _) in listed.iter().filter(|(_, bytes)| bytes.is_none()) {
            let Some(number) = name.strip_prefix("checkpoint.") else {
                continue;
            };
            let newest = last.is_some_and(|last| number.parse() == Ok(last));
            if number.ends_with(".tmp") || older(number) && !newest {
                fs.remove_tree(&wal.join(name))?;
            }
        }
        Ok(())
    };
    remove().map_err(|e| failed(wal, &e))
}

fn failed(path: &Path, e: &io::Error) -> ReplayError {
    ReplayError::Io(format!("{}: {e}", path.display()))
}

fn write(
    fs: &Arc<dyn LogFs>,
    dir: &Path,
    options: LogOptions,
    inputs: &[PathBuf],
    last: u32,
    keep: &Keep,
) -> Result<(), ReplayError> {
    let log = Log::new(fs.clone(), dir.to_path_buf(), options, 0);
    let mut folding = Folding {
        keep,
        with_aliases: last + 1 < keep.aliases_end,
        log,
        bytes: 0,
        record: Record::default(),
    };
    folding.log.begin();
    for path in inputs {
        folding.read(fs, path)?;
    }
    folding.add(|out| record::put_last_reference(out, keep.ref_max));
    folding.flush()?;
    let mut sync = || -> io::Result<()> {
        let mut files = folding.log.take_unsynced(true)?;
        files.iter_mut().try_for_each(|file| file.sync())?;
        fs.sync_dir(dir)
    };
    sync().map_err(|e| failed(dir, &e))
}

struct Folding<'a> {
    keep: &'a Keep,
    /// Segments that stay use them.
    with_aliases: bool,
    log: Log,
    /// Of the group, about.
    bytes: usize,
    record: Record,
}

/// What is kept of one record.
#[derive(Default)]
struct Record {
    series: Vec<u8>,
    samples: Vec<(u64, i64, u64)>,
    histograms: Vec<(u64, i64, Histogram)>,
    exemplars: Vec<(u64, Exemplar)>,
}

struct Sink<'a> {
    keep: &'a Keep,
    with_aliases: bool,
    record: &'a mut Record,
}

impl Folding<'_> {
    fn read(&mut self, fs: &Arc<dyn LogFs>, path: &Path) -> Result<(), ReplayError> {
        let input = fs.read(path).map_err(|e| failed(path, &e))?;
        let mut reader = SegmentReader::new(input);
        loop {
            let bad = |why: &str| Err(ReplayError::Fatal(format!("{}: {why}", path.display())));
            let bytes = match reader.step().map_err(|e| failed(path, &e))? {
                Step::Record(bytes) => bytes,
                Step::End { .. } => return Ok(()),
                Step::Corrupt(why) | Step::Unsupported(why) => return bad(why),
            };
            let mut sink = Sink {
                keep: self.keep,
                with_aliases: self.with_aliases,
                record: &mut self.record,
            };
            if let Err(e) = record::decode(bytes, &mut sink) {
                return bad(e.0);
            }
            self.put();
            if self.bytes >= GROUP_BYTES {
                self.flush()?;
            }
        }
    }

    /// Add what is kept of the record that was read.
    fn put(&mut self) {
        let mut record = std::mem::take(&mut self.record);
        if !record.series.is_empty() {
            self.add(|out| {
                record::begin_series(out);
                out.extend_from_slice(&record.series);
            });
        }
        if !record.samples.is_empty() {
            let samples = record.samples.iter().copied();
            self.add(|out| record::put_samples(out, samples));
        }
        for kind in HistogramKind::ALL {
            let of_kind = |h: &&(u64, i64, Histogram)| HistogramKind::of(&h.2) == kind;
            let rows = record.histograms.iter().filter(of_kind);
            let Some(first) = rows.clone().next() else {
                continue;
            };
            let base = Some((first.0, first.1));
            let rows = rows.map(|(reference, t, h)| (*reference, *t, h));
            self.add(|out| record::put_histograms(out, kind, base, rows));
        }
        if !record.exemplars.is_empty() {
            let rows = record
                .exemplars
                .iter()
                .map(|(reference, e)| (*reference, e));
            self.add(|out| record::put_exemplars(out, rows));
        }
        record.series.clear();
        record.samples.clear();
        record.histograms.clear();
        record.exemplars.clear();
        self.record = record;
    }

    fn add(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let bytes = &mut self.bytes;
        self.log.add(|out| {
            let start = out.len();
            put(out);
            *bytes += out.len() - start;
        });
    }

    fn flush(&mut self) -> Result<(), ReplayError> {
        let written = self.log.commit().map(drop);
        written.map_err(|e: LogError| ReplayError::Io(e.text))?;
        self.log.begin();
        self.bytes = 0;
        Ok(())
    }
}

impl RecordSink for Sink<'_> {
    fn series(&mut self, reference: u64, labels: &[(&str, &str)]) -> Result<(), Damaged> {
        let keep = self.keep;
        if keep.is_live(reference) || self.with_aliases && keep.now(reference).is_some() {
            let labels = labels.iter().copied();
            record::put_series(&mut self.record.series, reference, labels);
        }
        Ok(())
    }

    fn sample(&mut self, reference: u64, t: i64, v: u64) {
        if t >= self.keep.floor
            && let Some(now) = self.keep.now(reference)
        {
            self.record.samples.push((now, t, v));
        }
    }

    fn histogram(&mut self, reference: u64, t: i64, histogram: Histogram) {
        if t >= self.keep.floor
            && let Some(now) = self.keep.now(reference)
        {
            self.record.histograms.push((now, t, histogram));
        }
    }

    fn exemplar(&mut self, reference: u64, exemplar: Exemplar) {
        if exemplar.ts >= self.keep.floor
            && let Some(now) = self.keep.now(reference)
        {
            self.record.exemplars.push((now, exemplar));
        }
    }

    fn reference_seen(&mut self, _reference: u64) {}

    fn unknown(&mut self, _kind: u8) {}
}
