//! Bytes that are read at positions (a file, or memory), and a buffered stream over a part of them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BlockError, io_at};
use crate::codec::varint::{Cursor, VARINT_BYTES_MAX};

pub trait ReadAt: Send + Sync {
    fn size(&self) -> u64;

    /// Fill `out` from a position; the caller has held the range against `size`.
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), BlockError>;

    /// For messages.
    fn name(&self) -> String;
}

pub type Source = Arc<dyn ReadAt>;

/// An error that names source and place.
pub fn damaged(source: &dyn ReadAt, at: u64, what: impl std::fmt::Display) -> BlockError {
    BlockError::Damaged(format!("{} at byte {at}: {what}", source.name()))
}

pub struct FileSource {
    file: File,
    path: PathBuf,
    size: u64,
}

impl FileSource {
    pub fn open(path: &Path) -> Result<Source, BlockError> {
        let file = File::open(path).map_err(io_at(path))?;
        let size = file.metadata().map_err(io_at(path))?.len();
        Ok(Arc::new(FileSource {
            file,
            path: path.to_path_buf(),
            size,
        }))
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), BlockError> {
        self.file.read_exact_at(out, at).map_err(io_at(&self.path))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Bytes in memory, with a name for messages.
pub struct MemorySource(pub Vec<u8>, pub &'static str);

impl ReadAt for MemorySource {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), BlockError> {
        let from = usize::try_from(at).ok().and_then(|at| self.0.get(at..));
        let bytes = from.and_then(|from| from.get(..out.len()));
        let bytes = bytes.ok_or_else(|| damaged(self, at, "the bytes end early"))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn name(&self) -> String {
        self.1.to_string()
    }
}

/// A range of a source as one vector; checked against its size first.
pub fn read_range(source: &dyn ReadAt, at: u64, len: u64) -> Result<Vec<u8>, BlockError> {
    let fits = at.checked_add(len).is_some_and(|end| end <= source.size());
    let len = usize::try_from(len).ok().filter(|_| fits);
    let len = len.ok_or_else(|| damaged(source, at, "the file ends early"))?;
    let mut out = vec![0; len];
    source.read_at(at, &mut out)?;
    Ok(out)
}

const STEP_MIN: usize = 4 << 10;
const STEP_MAX: usize = 256 << 10;

/// Reads on from a position up to an end, in steps that grow as long as nothing is jumped over.
pub struct Stream<'a> {
    source: &'a dyn ReadAt,
    buffer: Vec<u8>,
    /// Position of `buffer[0]`.
    base: u64,
    used: usize,
    end: u64,
    step: usize,
    crc: u32,
    /// `buffer[..crc_from]` is in `crc`, or before where it began.
    crc_from: usize,
}

impl<'a> Stream<'a> {
    /// Over `at..end`, which is cut to the source's size.
    pub fn new(source: &'a dyn ReadAt, at: u64, end: u64) -> Self {
        Stream {
            source,
            buffer: Vec::new(),
            base: at,
            used: 0,
            end: end.min(source.size()),
            step: STEP_MIN,
            crc: 0,
            crc_from: 0,
        }
    }

    pub fn position(&self) -> u64 {
        self.base + self.used as u64
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position())
    }

    pub fn damaged(&self, what: impl std::fmt::Display) -> BlockError {
        damaged(self.source, self.position(), what)
    }

    pub fn damaged_at(&self, at: u64, what: impl std::fmt::Display) -> BlockError {
        damaged(self.source, at, what)
    }

    /// Go to a position; near ones ahead cost nothing. Ends a checksum under way.
    pub fn seek(&mut self, at: u64) {
        match at.checked_sub(self.base) {
            Some(ahead) if ahead <= self.buffer.len() as u64 => {
                self.used = ahead as usize;
            }
            _ => {
                self.base = at;
                self.buffer.clear();
                self.used = 0;
                self.step = STEP_MIN;
            }
        }
        self.crc_from = self.used;
        self.crc = 0;
    }

    /// Begin a checksum here.
    pub fn start_crc(&mut self) {
        (self.crc, self.crc_from) = (0, self.used);
    }

    /// The checksum of what was read since `start_crc`.
    pub fn crc(&mut self) -> u32 {
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer[self.crc_from..self.used]);
        self.crc_from = self.used;
        self.crc
    }

    /// Bytes from here on: n at least, or all that are left.
    pub fn peek(&mut self, n: usize) -> Result<&[u8], BlockError> {
        let n = (n as u64).min(self.remaining()) as usize;
        if self.buffer.len() - self.used < n {
            self.refill(n)?;
        }
        Ok(&self.buffer[self.used..])
    }

    fn refill(&mut self, n: usize) -> Result<(), BlockError> {
        self.crc();
        self.buffer.drain(..self.used);
        self.base += self.used as u64;
        (self.used, self.crc_from) = (0, 0);
        let have = self.buffer.len();
        let room = self.end - self.base;
        let want = (n.max(have + self.step) as u64).min(room) as usize;
        self.step = (self.step * 2).min(STEP_MAX);
        self.buffer.resize(want, 0);
        let read = self
            .source
            .read_at(self.base + have as u64, &mut self.buffer[have..]);
        if read.is_err() {
            self.buffer.truncate(have);
        }
        read
    }

    pub fn bytes(&mut self, n: u64) -> Result<&[u8], BlockError> {
        if n > self.remaining() {
            return Err(self.damaged("the section ends early"));
        }
        let n = n as usize;
        self.peek(n)?;
        self.used += n;
        Ok(&self.buffer[self.used - n..self.used])
    }

    pub fn u8(&mut self) -> Result<u8, BlockError> {
        Ok(self.bytes(1)?[0])
    }

    pub fn be32(&mut self) -> Result<u32, BlockError> {
        let bytes = self.bytes(4)?;
        Ok(bytes.iter().fold(0, |v, &b| v << 8 | u32::from(b)))
    }

    pub fn uvarint(&mut self) -> Result<u64, BlockError> {
        let bytes = self.peek(VARINT_BYTES_MAX)?;
        let mut cursor = Cursor::new(bytes);
        let value = cursor.uvarint();
        let used = bytes.len() - cursor.remaining();
        match value {
            Ok(value) => {
                self.used += used;
                Ok(value)
            }
            Err(error) => Err(self.damaged(error)),
        }
    }

    /// Length-prefixed UTF-8.
    pub fn text(&mut self) -> Result<&str, BlockError> {
        let len = self.uvarint()?;
        let (source, at) = (self.source, self.position());
        let bytes = self.bytes(len)?;
        std::str::from_utf8(bytes).map_err(|_| damaged(source, at, "a string is not UTF-8"))
    }
}
