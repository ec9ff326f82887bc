//! One log directory, open for append.
//!
//! A group of records becomes one write. Either all of it is in the file when `commit` returns, or nothing is: a short
//! or failed write is cut back to the last good end before anything follows. When even the cut fails the log refuses
//! every commit until a later attempt to cut succeeds.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::frame::{framed_bytes_max, page_padding, put_record};
use super::fs::{AppendFile, LogFs, segment_path};

/// When the file is synced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// When a segment is full, as Prometheus does.
    Segment,
    /// Also by a timer of the caller's.
    Interval,
    /// Before every acknowledgement.
    Always,
}

#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    pub segment_bytes: u64,
    pub fsync: Fsync,
    pub compress: bool,
}

#[derive(Debug)]
pub struct LogError {
    pub text: String,
    pub disk_full: bool,
}

impl LogError {
    pub fn new(what: &str, e: &io::Error) -> Self {
        LogError {
            text: format!("{what}: {e}"),
            disk_full: matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
        }
    }
}

struct Segment {
    file: Box<dyn AppendFile>,
    /// End of the last whole group.
    good: u64,
}

pub struct Log {
    fs: Arc<dyn LogFs>,
    dir: PathBuf,
    options: LogOptions,
    /// Number of the segment that `current` is, or of the next one to create.
    number: u32,
    current: Option<Segment>,
    /// Bytes past the good end that a failed cut left behind.
    torn: bool,
    /// Full segments that were not synced yet.
    unsynced: Vec<Box<dyn AppendFile>>,
    records: Vec<u8>,
    record_end: Vec<usize>,
    framed: Vec<u8>,
    pub bytes_written: u64,
    pub syncs_failed: u64,
}

/// What undoes the last commit.
#[must_use]
pub struct Undo {
    good_before: u64,
}

impl Log {
    /// The first commit creates segment `number`; nothing touches the disk before.
    pub fn new(fs: Arc<dyn LogFs>, dir: PathBuf, options: LogOptions, number: u32) -> Self {
        Log {
            fs,
            dir,
            options,
            number,
            current: None,
            torn: false,
            unsynced: Vec::new(),
            records: Vec::new(),
            record_end: Vec::new(),
            framed: Vec::new(),
            bytes_written: 0,
            syncs_failed: 0,
        }
    }

    /// Number of the segment that is, or will be, appended to.
    pub fn segment(&self) -> u32 {
        self.number
    }

    /// Start a group; what was added and not committed is dropped.
    pub fn begin(&mut self) {
        self.records.clear();
        self.record_end.clear();
    }

    /// Add a record to the group.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.records);
        self.record_end.push(self.records.len());
    }

    /// Write the group, if it has a record. On an error nothing of it is in the log.
    pub fn commit(&mut self) -> Result<Option<Undo>, LogError> {
        if self.record_end.is_empty() {
            return Ok(None);
        }
        self.mend()?;
        let bytes_max = self.group_bytes_max();
        self.ensure_room(bytes_max as u64)?;
        let Some(segment) = &mut self.current else {
            return Err(LogError::new(
                "WAL segment",
                &io::ErrorKind::NotFound.into(),
            ));
        };
        self.framed.clear();
        let mut from = 0;
        for &end in &self.record_end {
            put_record(
                &mut self.framed,
                segment.good,
                &self.records[from..end],
                self.options.compress,
            );
            from = end;
        }
        let good_before = segment.good;
        let mut written = write_all(&mut *segment.file, &self.framed);
        if written.is_ok() && self.options.fsync == Fsync::Always {
            written = segment.file.sync();
            self.syncs_failed += u64::from(written.is_err());
        }
        match written {
            Ok(()) => {
                segment.good += self.framed.len() as u64;
                self.bytes_written += self.framed.len() as u64;
                self.shrink_buffers();
                Ok(Some(Undo { good_before }))
            }
            Err(e) => {
                self.torn = true;
                let error = LogError::new("writing the WAL", &e);
                // The write's own error is what the sender needs; a failed cut speaks up at the next commit.
                let _ = self.mend();
                Err(error)
            }
        }
    }

    /// Take the last commit back: another log of the same group failed.
    pub fn undo(&mut self, undo: Undo) -> Result<(), LogError> {
        if let Some(segment) = &mut self.current {
            segment.good = undo.good_before;
            self.torn = true;
        }
        self.mend()
    }

    /// Cut what a failed write left behind.
    fn mend(&mut self) -> Result<(), LogError> {
        if !self.torn {
            return Ok(());
        }
        if let Some(segment) = &mut self.current {
            segment.file.truncate(segment.good).map_err(|e| {
                LogError::new("the WAL refuses writes: cutting a failed write back", &e)
            })?;
        }
        self.torn = false;
        Ok(())
    }

    fn group_bytes_max(&self) -> usize {
        let mut from = 0;
        let mut sum = 0;
        for &end in &self.record_end {
            sum += framed_bytes_max(end - from);
            from = end;
        }
        sum
    }

    /// End the current segment: the next commit begins another.
    pub fn seal(&mut self) -> Result<(), LogError> {
        self.mend()?;
        self.pad()?;
        if let Some(full) = self.current.take() {
            self.unsynced.push(full.file);
            self.number += 1;
        }
        Ok(())
    }

    /// Fill the last page of the segment.
    fn pad(&mut self) -> Result<(), LogError> {
        let Some(segment) = &mut self.current else {
            return Ok(());
        };
        let padding = page_padding(segment.good);
        if let Err(e) = write_all(&mut *segment.file, &vec![0; padding]) {
            self.torn = true;
            let _ = self.mend();
            return Err(LogError::new("closing a WAL segment", &e));
        }
        segment.good += padding as u64;
        Ok(())
    }

    /// Have a segment that takes `bytes`, if any can: a larger group gets a segment of its own.
    fn ensure_room(&mut self, bytes: u64) -> Result<(), LogError> {
        if let Some(segment) = &self.current {
            if segment.good == 0 || segment.good + bytes <= self.options.segment_bytes {
                return Ok(());
            }
            self.pad()?;
        }
        let number = self.number + u32::from(self.current.is_some());
        let path = segment_path(&self.dir, number);
        let file = self
            .fs
            .create(&path)
            .map_err(|e| LogError::new("creating a WAL segment", &e))?;
        let fresh = Segment { file, good: 0 };
        if let Some(full) = self.current.replace(fresh) {
            self.unsynced.push(full.file);
        }
        self.number = number;
        if self.options.fsync == Fsync::Always {
            self.sync_full_segments()?;
        }
        Ok(())
    }

    fn sync_full_segments(&mut self) -> Result<(), LogError> {
        let synced = self
            .fs
            .sync_dir(&self.dir)
            .and_then(|()| self.unsynced.iter_mut().try_for_each(|file| file.sync()));
        self.syncs_failed += u64::from(synced.is_err());
        synced.map_err(|e| LogError::new("syncing the WAL", &e))?;
        self.unsynced.clear();
        Ok(())
    }

    /// Files to sync outside the lock: full segments, and the current one when `current`.
    pub fn take_unsynced(&mut self, current: bool) -> io::Result<Vec<Box<dyn AppendFile>>> {
        let mut files = std::mem::take(&mut self.unsynced);
        if let (true, Some(segment)) = (current, &self.current) {
            files.push(segment.file.duplicate()?);
        }
        Ok(files)
    }

    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Keep buffers for the usual group, not for the largest ever.
    fn shrink_buffers(&mut self) {
        const KEEP: usize = 1 << 20;
        if self.framed.capacity() > KEEP {
            self.framed = Vec::new();
            self.records = Vec::new();
        }
    }
}

fn write_all(file: &mut dyn AppendFile, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => rest = &rest[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
