//! One tenant's head without Python: the table, its logs, and the locks around them.
//!
//! Locks: `writer` is held by one append, sync or replay step at a time; `table` is read while a group is decided and
//! while a selection is captured, and written only while a decided group is applied. A selection therefore never waits
//! for the disk. Order: upkeep before writer before table. What ends the life of samples here, when blocks have them, is
//! in upkeep.rs.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::admission::{Limits, Outcome};
use super::append::{self, Scratch};
use super::exemplars::Exemplars;
use super::owned::TokenRanges;
use super::postings::HashKey;
use super::replay::{Aliases, Replay, ReplayError, Report};
use super::series::{Rebuild, SeriesTable};
use super::upkeep::Upkeep;
use super::wal::fs::{AppendFile, LogFs};
use super::wal::log::{Log, LogError, LogOptions};
use crate::batch::WriteBatch;
use crate::codec::Damaged;
use crate::wire::series::SeriesHasher;

pub struct Head {
    pub(super) upkeep: Mutex<Upkeep>,
    writer: Mutex<Writer>,
    table: RwLock<SeriesTable>,
}

pub(super) struct Writer {
    pub(super) fs: Arc<dyn LogFs>,
    pub(super) options: LogOptions,
    pub(super) dir: std::path::PathBuf,
    pub(super) state: State,
    pub(super) aliases: Aliases,
    /// The first segment that was not replayed.
    pub(super) aliases_end: u32,
    scratch: Scratch,
    report: Report,
    /// With the key that the table's hashes are made with.
    hasher: SeriesHasher,
}

pub(super) enum State {
    Replaying(Box<Replay>),
    Open(Box<Logs>),
    Closed,
}

/// In-order and out-of-order log.
pub(super) struct Logs {
    pub(super) wal: Log,
    pub(super) wbl: Log,
}

#[derive(Debug)]
pub enum AppendError {
    /// Nothing of the group is stored.
    Log(LogError),
    /// The head is not open, or was left broken by a panic.
    Unusable(&'static str),
    Batch(Damaged),
}

impl From<LogError> for AppendError {
    fn from(e: LogError) -> Self {
        AppendError::Log(e)
    }
}

/// Bounds that hold for the life of a head, but for the last, which every append sets anew.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Samples at which an out-of-order chunk is closed.
    pub ooo_samples_max: usize,
    /// Exemplars that replay keeps.
    pub exemplars_max: usize,
    /// Length of the ranges that blocks are cut at.
    pub range_ms: i64,
    /// Blocks have all in-order samples before this time; `i64::MIN`: there are none.
    pub floor: i64,
}

/// Totals about the logs.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStats {
    pub bytes_written: u64,
    pub segment: u32,
    pub syncs_failed: u64,
    pub unsynced: bool,
}

pub(super) const BROKEN: AppendError =
    AppendError::Unusable("the head is broken by an earlier failure");
pub(super) const NOT_OPEN: AppendError = AppendError::Unusable("the head is not open");

impl Head {
    /// `dir` holds `wal/` and `wbl/`. Call `replay_step` until it is done, then append.
    pub fn open(
        fs: Arc<dyn LogFs>,
        dir: &Path,
        key: &HashKey,
        tenant: &str,
        options: LogOptions,
        bounds: Bounds,
    ) -> Result<Self, ReplayError> {
        let mut table = SeriesTable::new(*key, bounds.ooo_samples_max, bounds.range_ms);
        table.exemplars = Exemplars::new(bounds.exemplars_max);
        table.raise_floor(bounds.floor);
        let (wal, wbl) = (dir.join("wal"), dir.join("wbl"));
        let replay = Replay::new(fs.clone(), &wal, &wbl, key, tenant, bounds.floor)?;
        Ok(Head {
            upkeep: Mutex::default(),
            writer: Mutex::new(Writer {
                fs,
                options,
                dir: dir.to_path_buf(),
                state: State::Replaying(Box::new(replay)),
                aliases: Aliases::default(),
                aliases_end: 0,
                scratch: Scratch::default(),
                report: Report::default(),
                hasher: SeriesHasher::new(key),
            }),
            table: RwLock::new(table),
        })
    }

    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writer>, AppendError> {
        self.writer.lock().map_err(|_| BROKEN)
    }

    /// For reading; a table that a panic left half changed is not read.
    pub fn table(&self) -> Result<RwLockReadGuard<'_, SeriesTable>, AppendError> {
        self.table.read().map_err(|_| BROKEN)
    }

    pub(super) fn table_mut(&self) -> Result<RwLockWriteGuard<'_, SeriesTable>, AppendError> {
        self.table.write().map_err(|_| BROKEN)
    }

    /// Replay about `bytes_max` more; bytes done and in total. Equal numbers mean: open for appends.
    pub fn replay_step(&self, bytes_max: u64) -> Result<(u64, u64), ReplayError> {
        let broken = |_: AppendError| ReplayError::Fatal("an earlier replay step failed".into());
        let mut writer = self.writer().map_err(broken)?;
        let writer = &mut *writer;
        let State::Replaying(replay) = &mut writer.state else {
            return Ok((1, 1));
        };
        let mut table = self.table_mut().map_err(broken)?;
        let finished = replay.step(&mut table, bytes_max)?;
        let total = replay.total_bytes;
        if !finished {
            // The last byte may be read before its record is dealt with.
            return Ok((replay.done_bytes.min(total.saturating_sub(1)), total.max(1)));
        }
        let log = |name: &str, number: u32| {
            Log::new(
                writer.fs.clone(),
                writer.dir.join(name),
                writer.options,
                number,
            )
        };
        let (wal, wbl) = (log("wal", replay.next_wal), log("wbl", replay.next_wbl));
        writer.aliases = replay.aliases(&table);
        drop_empty(&mut table);
        writer.aliases_end = replay.next_wal;
        writer.report = replay.report.clone();
        writer.state = State::Open(Box::new(Logs { wal, wbl }));
        Ok((total.max(1), total.max(1)))
    }

    pub fn replay_report(&self) -> Result<Report, AppendError> {
        let writer = self.writer()?;
        Ok(match &writer.state {
            State::Replaying(replay) => replay.report.clone(),
            _ => writer.report.clone(),
        })
    }

    /// Store a group of batches with one write per log. On an error nothing of the group is stored.
    pub fn append(
        &self,
        batches: &[&WriteBatch],
        limits: Limits,
    ) -> Result<Vec<Outcome>, AppendError> {
        let mut writer = self.writer()?;
        let Writer {
            state,
            scratch,
            hasher,
            ..
        } = &mut *writer;
        let State::Open(logs) = state else {
            return Err(NOT_OPEN);
        };
        let Logs { wal, wbl } = &mut **logs;
        let own: Vec<Cow<'_, WriteBatch>> = batches
            .iter()
            .map(|batch| with_key(batch, hasher))
            .collect();
        let batches: Vec<&WriteBatch> = own.iter().map(|batch| &**batch).collect();
        let plan = {
            let table = self.table()?;
            let plan =
                append::plan(&table, &batches, limits, scratch).map_err(AppendError::Batch)?;
            plan.log(&table, wal, wbl);
            plan
        };
        let undo = wal.commit()?;
        if let Err(e) = wbl.commit() {
            if let Some(undo) = undo {
                // When this fails too, the log says so at its next commit, before it writes anything.
                let _ = wal.undo(undo);
            }
            return Err(e.into());
        }
        plan.apply(&mut *self.table_mut()?);
        Ok(plan.outcomes)
    }

    /// Hash all series with another key from now on. Batches hashed with the one before are still understood, but for
    /// their references.
    pub fn rekey(&self, key: &HashKey) -> Result<(), AppendError> {
        let mut writer = self.writer()?;
        let hasher = SeriesHasher::new(key);
        if hasher.tag() == writer.hasher.tag() {
            return Ok(());
        }
        // Only a holder of `writer` adds series: none comes between the two locks.
        let hashes = self.table()?.hashes_with(&hasher);
        self.table_mut()?.set_hashes(hashes);
        if let State::Replaying(replay) = &mut writer.state {
            replay.rekey(hasher.clone());
        }
        writer.hasher = hasher;
        Ok(())
    }

    /// Which series are owned from now on; how many that are.
    pub fn set_owned_ranges(&self, ranges: Option<TokenRanges>) -> Result<u64, AppendError> {
        let mut table = self.table_mut()?;
        table.set_owned_ranges(ranges);
        Ok(table.owned_count())
    }

    /// Sync full segments, and the current ones when `current`. Appends go on meanwhile.
    pub fn sync(&self, current: bool) -> Result<(), AppendError> {
        let io = |e: std::io::Error| AppendError::Log(LogError::new("syncing the WAL", &e));
        let mut files: Vec<Box<dyn AppendFile>> = {
            let mut writer = self.writer()?;
            let State::Open(logs) = &mut writer.state else {
                return Ok(());
            };
            let mut files = logs.wal.take_unsynced(current).map_err(io)?;
            files.extend(logs.wbl.take_unsynced(current).map_err(io)?);
            files
        };
        let synced = files.iter_mut().try_for_each(|file| file.sync());
        if synced.is_err()
            && let State::Open(logs) = &mut self.writer()?.state
        {
            logs.wal.syncs_failed += 1;
        }
        synced.map_err(io)
    }

    /// Sync and refuse appends from now on. Selections still work.
    pub fn close(&self) -> Result<(), AppendError> {
        let synced = self.sync(true);
        self.writer()?.state = State::Closed;
        synced
    }

    pub fn log_stats(&self) -> Result<LogStats, AppendError> {
        let writer = self.writer()?;
        let State::Open(logs) = &writer.state else {
            return Ok(LogStats::default());
        };
        let Logs { wal, wbl } = &**logs;
        Ok(LogStats {
            bytes_written: wal.bytes_written + wbl.bytes_written,
            segment: wal.segment(),
            syncs_failed: wal.syncs_failed + wbl.syncs_failed,
            unsynced: wal.has_unsynced() || wbl.has_unsynced(),
        })
    }
}

/// Drop the series whose samples are all in blocks.
fn drop_empty(table: &mut SeriesTable) {
    let mut rebuild = Rebuild::new(table);
    rebuild.take(table, 0..table.len() as u32);
    if rebuild.is_needed() {
        rebuild.index();
        table.rebuild(rebuild);
    }
}

/// The batch under the head's key.
fn with_key<'a>(batch: &'a WriteBatch, hasher: &SeriesHasher) -> Cow<'a, WriteBatch> {
    match batch.key_tag == hasher.tag() {
        true => Cow::Borrowed(batch),
        false => Cow::Owned(batch.rehashed(hasher)),
    }
}
