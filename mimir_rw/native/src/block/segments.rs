//! Chunk segments: files of chunks, each with its length, encoding and checksum.

use std::path::{Path, PathBuf};

use super::layout::{CRC_BYTES, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SEGMENT_VERSION};
use super::source::{FileSource, Source, Stream, damaged, read_range};
use super::writer::Output;
use super::{BlockError, io_at};
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint};

/// What a chunk takes beside its data at most: length of up to 5 bytes, encoding, checksum.
pub const CHUNK_OVERHEAD_MAX: u64 = 5 + 1 + CRC_BYTES;
/// What is read of a chunk at first; most are shorter.
const GUESS_BYTES: u64 = 1 << 10;

pub fn segment_name(number: u32) -> String {
    format!("{number:06}")
}

/// Encoding and data of the chunk at the beginning of `bytes`, and what it takes. None: it reaches beyond them.
#[allow(clippy::type_complexity)]
pub fn split(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>, Damaged> {
    let mut cursor = Cursor::new(bytes);
    let len = match cursor.uvarint() {
        Ok(len) => len,
        Err(_) if bytes.len() < 5 => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(len) = usize::try_from(len)
        .ok()
        .filter(|&len| len <= u32::MAX as usize)
    else {
        return Err(Damaged("a chunk says that it is longer than a segment"));
    };
    if cursor.remaining() < len + 1 + CRC_BYTES as usize {
        return Ok(None);
    }
    let whole = cursor.bytes(len + 1)?;
    let crc = cursor.bytes(CRC_BYTES as usize)?;
    if crc32c::crc32c(whole).to_be_bytes() != crc {
        return Err(Damaged("the checksum of a chunk differs"));
    }
    let used = bytes.len() - cursor.remaining();
    Ok(Some((whole[0], &whole[1..], used)))
}

/// How many samples a chunk says it has, and whether they are histograms (tsdb-block.md section 5.1).
pub fn samples_of(encoding: u8, data: &[u8]) -> Result<(u64, bool), Damaged> {
    let (count, _) = data
        .split_first_chunk::<2>()
        .ok_or(Damaged("a chunk has no sample count"))?;
    let count = u64::from(u16::from_be_bytes(*count));
    match encoding {
        1 | 4 => Ok((count, false)),
        2 | 3 => Ok((count, true)),
        5 | 6 => Ok((count & 0x3fff, true)),
        _ => Err(Damaged("a chunk has an unknown encoding")),
    }
}

pub struct SegmentReader {
    segments: Vec<Source>,
}

impl SegmentReader {
    /// `directory`: 000001, 000002, ... without a gap. Other files are ignored.
    pub fn open(directory: &Path) -> Result<Self, BlockError> {
        let mut segments = Vec::new();
        loop {
            let path = directory.join(segment_name(segments.len() as u32 + 1));
            if !path.try_exists().map_err(io_at(&path))? {
                break;
            }
            segments.push(FileSource::open(&path)?);
        }
        Self::over(segments)
    }

    pub fn over(segments: Vec<Source>) -> Result<Self, BlockError> {
        for segment in &segments {
            let head = read_range(&**segment, 0, SEGMENT_HEADER_BYTES)?;
            match head.split_first_chunk::<4>() {
                Some((&SEGMENT_MAGIC, [SEGMENT_VERSION, ..])) => {}
                _ => return Err(damaged(&**segment, 0, "this is not a segment of version 1")),
            }
        }
        Ok(SegmentReader { segments })
    }

    pub fn len(&self) -> usize {
        self.segments.len()
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn segments(&self) -> &[Source] {
        &self.segments
    }

    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size()).sum()
    }

    fn segment(&self, reference: u64) -> Result<(&Source, u64), BlockError> {
        let (number, at) = (reference >> 32, reference & 0xffff_ffff);
        let segment = usize::try_from(number).ok();
        match segment.and_then(|number| self.segments.get(number)) {
            Some(segment) if at >= SEGMENT_HEADER_BYTES => Ok((segment, at)),
            _ => Err(BlockError::Damaged(format!(
                "the index has a chunk at byte {at} of segment {}, of {}",
                number + 1,
                self.segments.len()
            ))),
        }
    }

    /// Encoding and data of a chunk.
    pub fn chunk(&self, reference: u64) -> Result<(u8, Vec<u8>), BlockError> {
        let (segment, at) = self.segment(reference)?;
        let mut stream = Stream::new(&**segment, at, at.saturating_add(GUESS_BYTES));
        let mut data = Vec::new();
        let encoding = match read_chunk(&mut stream, &mut data)? {
            Some(encoding) => encoding,
            None => {
                let mut stream = Stream::new(&**segment, at, u64::MAX);
                let read = read_chunk(&mut stream, &mut data)?;
                read.ok_or_else(|| damaged(&**segment, at, "a chunk reaches beyond its segment"))?
            }
        };
        Ok((encoding, data))
    }

    /// Reads chunks in the order of their references, near ones together.
    pub fn cursor(&self) -> ChunkCursor<'_> {
        ChunkCursor {
            reader: self,
            open: None,
        }
    }
}

/// Append the data of the chunk at the stream's position. None: it reaches beyond the stream.
fn read_chunk(stream: &mut Stream<'_>, out: &mut Vec<u8>) -> Result<Option<u8>, BlockError> {
    let at = stream.position();
    let remaining = stream.remaining();
    let head = stream.peek(16)?;
    let len = match Cursor::new(head).uvarint() {
        Ok(len) => len.saturating_add(CHUNK_OVERHEAD_MAX),
        Err(_) => 0,
    };
    let want = len.min(remaining) as usize;
    let bytes = stream.peek(want)?;
    let found = split(bytes).map(|found| {
        found.map(|(encoding, data, used)| {
            out.extend_from_slice(data);
            (encoding, used)
        })
    });
    match found {
        Ok(Some((encoding, used))) => {
            stream.bytes(used as u64)?;
            Ok(Some(encoding))
        }
        Ok(None) => Ok(None),
        Err(what) => Err(stream.damaged_at(at, what)),
    }
}

pub struct ChunkCursor<'a> {
    reader: &'a SegmentReader,
    open: Option<(u64, Stream<'a>)>,
}

impl ChunkCursor<'_> {
    /// Append a chunk's data to `out`; its encoding.
    pub fn read(&mut self, reference: u64, out: &mut Vec<u8>) -> Result<u8, BlockError> {
        let (segment, at) = self.reader.segment(reference)?;
        let number = reference >> 32;
        let stream = match &mut self.open {
            Some((open, stream)) if *open == number => {
                stream.seek(at);
                stream
            }
            open => {
                &mut open
                    .insert((number, Stream::new(&**segment, at, u64::MAX)))
                    .1
            }
        };
        let read = read_chunk(stream, out)?;
        read.ok_or_else(|| damaged(&**segment, at, "a chunk reaches beyond its segment"))
    }
}

/// Writes chunks to directory/000001 and so on.
pub struct SegmentWriter {
    directory: PathBuf,
    segment_bytes: u64,
    open: Option<Output>,
    count: u32,
    scratch: Vec<u8>,
    /// Where the series under way began in this segment, and what it has taken since at most.
    base: u64,
    taken_max: u64,
    first: bool,
}

impl SegmentWriter {
    pub fn new(directory: PathBuf, segment_bytes: u64) -> Self {
        SegmentWriter {
            directory,
            segment_bytes: segment_bytes.min(u64::from(u32::MAX)),
            open: None,
            count: 0,
            scratch: Vec::new(),
            base: SEGMENT_HEADER_BYTES,
            taken_max: 0,
            first: true,
        }
    }

    /// A series begins. Where segments end depends on it, for Prometheus writes the chunks of a series at a time and
    /// counts five bytes for the length of each.
    pub fn start_series(&mut self) {
        self.base = self
            .open
            .as_ref()
            .map_or(SEGMENT_HEADER_BYTES, Output::position);
        self.taken_max = 0;
        self.first = self.base == SEGMENT_HEADER_BYTES;
    }

    /// The reference of the chunk.
    pub fn write(&mut self, encoding: u8, data: &[u8]) -> Result<u64, BlockError> {
        let takes = data.len() as u64 + CHUNK_OVERHEAD_MAX;
        self.taken_max += takes;
        let full = self.base + self.taken_max > self.segment_bytes && !self.first;
        if full || self.open.is_none() {
            self.cut()?;
            self.base = SEGMENT_HEADER_BYTES;
            self.taken_max = takes;
        }
        self.first = false;
        self.scratch.clear();
        put_uvarint(&mut self.scratch, data.len() as u64);
        let from = self.scratch.len();
        self.scratch.push(encoding);
        self.scratch.extend_from_slice(data);
        let crc = crc32c::crc32c(&self.scratch[from..]).to_be_bytes();
        self.scratch.extend_from_slice(&crc);
        let segment = u64::from(self.count - 1);
        let Some(open) = &mut self.open else {
            return Err(BlockError::Order("no segment is open".into()));
        };
        let at = open.position();
        if at > u64::from(u32::MAX) {
            return Err(BlockError::Order("a segment is longer than 4 GiB".into()));
        }
        open.write(&self.scratch)?;
        Ok(segment << 32 | at)
    }

    fn cut(&mut self) -> Result<(), BlockError> {
        if let Some(full) = self.open.take() {
            full.finish()?;
        }
        self.count += 1;
        let mut output = Output::create(&self.directory.join(segment_name(self.count)))?;
        output.write(&SEGMENT_MAGIC)?;
        output.write(&[SEGMENT_VERSION, 0, 0, 0])?;
        self.open = Some(output);
        Ok(())
    }

    pub fn finish(mut self) -> Result<(), BlockError> {
        match self.open.take() {
            Some(open) => open.finish(),
            None => Ok(()),
        }
    }
}
