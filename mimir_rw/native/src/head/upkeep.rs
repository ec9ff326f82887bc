//! What happens to a head when blocks have a part of it: samples and series are dropped, logs shortened.
//!
//! Small steps, so that appends are never held up for long. Those that change the head are for the tenant's lane, each a
//! turn; those that only read, or only touch files that nobody writes to, run beside it. In order, for a block of samples
//! in order:
//!
//! ```text
//! freeze ── (the block is written and named) ── forget, some series at a time ── prepare_rebuild · rebuild
//!        └── thaw, when that failed             seal_wal · checkpoint
//! ```
//!
//! and for blocks of samples out of order: seal_wbl, freeze_ooo, (blocks), forget_ooo, truncate_wbl. After a crash at any
//! point the floor says which samples of the WAL blocks have (replay.rs); those of the out-of-order log come back until
//! it is truncated, the same at the same times as in the block.

use std::sync::{Mutex, MutexGuard};

use super::checkpoint::{Folded, Keep, fold};
use super::core::{AppendError, BROKEN, Head, NOT_OPEN, State};
use super::cut::SLICE;
use super::replay::{Kind, ReplayError, segments};
use super::series::Rebuild;

/// Series that one step deals with.
pub const STEP: u32 = if cfg!(test) { 2 } else { 4 * 1024 };

/// What goes from one step to another.
#[derive(Default)]
pub struct Upkeep {
    rebuild: Option<Rebuild>,
}

fn failed(e: AppendError) -> ReplayError {
    match e {
        AppendError::Log(e) => ReplayError::Io(e.text),
        AppendError::Unusable(why) => ReplayError::Fatal(why.into()),
        AppendError::Batch(e) => ReplayError::Fatal(e.0.into()),
    }
}

impl Head {
    fn upkeep(&self) -> Result<MutexGuard<'_, Upkeep>, AppendError> {
        let upkeep: &Mutex<Upkeep> = &self.upkeep;
        upkeep.lock().map_err(|_| BROKEN)
    }

    /// Accept nothing in order before this time from now on: a block is being cut there.
    pub fn freeze(&self, before: i64) -> Result<(), AppendError> {
        let _writer = self.writer()?;
        self.table_mut()?.freeze(before);
        Ok(())
    }

    /// The block did not come to be.
    pub fn thaw(&self) -> Result<(), AppendError> {
        self.freeze(i64::MIN)
    }

    /// Blocks have all in-order samples before `mint`: drop those of the next series from `start` on. Where the next
    /// step starts; None: that was the last.
    pub fn forget(&self, mint: i64, start: u32) -> Result<Option<u32>, AppendError> {
        let _writer = self.writer()?;
        let mut table = self.table_mut()?;
        table.raise_floor(mint);
        table.freeze(i64::MIN);
        let end = start.saturating_add(STEP).min(table.len() as u32);
        table.forget_before(start.min(end)..end, mint);
        Ok((end < table.len() as u32).then_some(end))
    }

    /// Begin another segment of the out-of-order log; its number.
    pub fn seal_wbl(&self) -> Result<u32, AppendError> {
        let mut writer = self.writer()?;
        let State::Open(logs) = &mut writer.state else {
            return Err(NOT_OPEN);
        };
        logs.wbl.seal()?;
        Ok(logs.wbl.segment())
    }

    /// Mark the out-of-order samples of the next series from `start` on, all that there are now, for blocks.
    pub fn freeze_ooo(&self, start: u32) -> Result<Option<u32>, AppendError> {
        let _writer = self.writer()?;
        let mut table = self.table_mut()?;
        let end = start.saturating_add(STEP).min(table.len() as u32);
        table.freeze_ooo(start.min(end)..end);
        Ok((end < table.len() as u32).then_some(end))
    }

    /// Blocks have the marked out-of-order samples: drop them, step by step as `forget`.
    pub fn forget_ooo(&self, start: u32) -> Result<Option<u32>, AppendError> {
        let _writer = self.writer()?;
        let mut table = self.table_mut()?;
        let end = start.saturating_add(STEP).min(table.len() as u32);
        table.forget_frozen_ooo(start.min(end)..end);
        Ok((end < table.len() as u32).then_some(end))
    }

    /// Remove the segments of the out-of-order log before this one: blocks have their samples.
    pub fn truncate_wbl(&self, before: u32) -> Result<u32, ReplayError> {
        let (fs, dir) = {
            let writer = self.writer().map_err(failed)?;
            (writer.fs.clone(), writer.dir.join("wbl"))
        };
        let mut removed = 0;
        for (number, segment) in segments(&*fs, &dir, Kind::Wbl)? {
            if number < before {
                let path = segment.path;
                let io = |e| ReplayError::Io(format!("{}: {e}", path.display()));
                fs.remove(&path).map_err(io)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Make the index of the series that have samples, beside appends.
    pub fn prepare_rebuild(&self) -> Result<(), AppendError> {
        let mut upkeep = self.upkeep()?;
        let mut rebuild = Rebuild::new(&*self.table()?);
        loop {
            let table = self.table()?;
            let start = rebuild.seen();
            let end = start.saturating_add(SLICE).min(table.len() as u32);
            if start == end {
                break;
            }
            rebuild.take(&table, start..end);
        }
        if rebuild.is_needed() {
            rebuild.index();
            upkeep.rebuild = Some(rebuild);
        } else {
            upkeep.rebuild = None;
        }
        Ok(())
    }

    /// Drop the series without samples, as prepared; how many. What is left of the head knows its oldest sample again.
    pub fn rebuild(&self) -> Result<u64, AppendError> {
        let rebuild = self.upkeep()?.rebuild.take();
        let discarded = {
            let _writer = self.writer()?;
            let mut table = self.table_mut()?;
            let discarded = rebuild.map(|rebuild| table.rebuild(rebuild));
            table.renew_extent();
            discarded
        };
        // What is freed here, behind the locks, was most of the table.
        Ok(discarded.map_or(0, |discarded| discarded.series_dropped))
    }

    /// Series whose newest sample is before `t`.
    pub fn ended_series(&self, t: i64) -> Result<u64, AppendError> {
        let (mut start, mut ended) = (0, 0);
        loop {
            let table = self.table()?;
            let end = (start + STEP).min(table.len() as u32);
            if start >= end {
                return Ok(ended);
            }
            ended += (start..end)
                .filter(|&sid| table.ended_before(sid, t))
                .count() as u64;
            start = end;
        }
    }

    /// Begin another segment of the WAL; its number.
    pub fn seal_wal(&self) -> Result<u32, AppendError> {
        let mut writer = self.writer()?;
        let State::Open(logs) = &mut writer.state else {
            return Err(NOT_OPEN);
        };
        logs.wal.seal()?;
        Ok(logs.wal.segment())
    }

    /// Fold segments before this one into a checkpoint, if there are enough. Everything that came before `seal_wal`
    /// gave the number is applied.
    pub fn checkpoint(&self, active: u32) -> Result<Option<Folded>, ReplayError> {
        let (fs, dir, options, mut keep) = {
            let writer = self.writer().map_err(failed)?;
            let table = self.table().map_err(failed)?;
            let references = (0..table.len() as u32).map(|sid| table.ref_of(sid));
            let keep = Keep {
                floor: table.stored_floor(),
                live: references.collect(),
                aliases: writer.aliases.clone(),
                aliases_end: writer.aliases_end,
                ref_max: table.ref_max(),
            };
            (
                writer.fs.clone(),
                writer.dir.join("wal"),
                writer.options,
                keep,
            )
        };
        keep.live.sort_unstable();
        let folded = fold(&fs, &dir, options, active, &keep)?;
        if folded.is_some_and(|folded| folded.last + 1 >= keep.aliases_end) {
            // No segment uses them any more.
            self.writer().map_err(failed)?.aliases.clear();
        }
        Ok(folded)
    }
}
