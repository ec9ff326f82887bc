//! Writes a block: series in label order with their encoded chunks go in, index, segments and tombstones come out.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::index_writer::IndexWriter;
use super::segments::{SegmentWriter, samples_of};
use super::series::ChunkMeta;
use super::{BlockError, io_at, tombstones};

const BUFFER_BYTES: usize = 256 << 10;

/// A file that is written from its beginning to its end.
pub struct Output {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
}

impl Output {
    /// The file must not exist.
    pub fn create(path: &Path) -> Result<Self, BlockError> {
        let file = File::create_new(path).map_err(io_at(path))?;
        Ok(Output {
            file,
            path: path.to_path_buf(),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
        })
    }

    pub fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.file.write_all(bytes).map_err(io_at(&self.path))?;
            self.written += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Zeros up to a multiple of `size`.
    pub fn align(&mut self, size: u64) -> Result<(), BlockError> {
        let padding = self.position().next_multiple_of(size) - self.position();
        self.write(&[0; 16][..padding as usize])
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.file
            .write_all(&self.buffer)
            .map_err(io_at(&self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Everything on the disk.
    pub fn finish(mut self) -> Result<(), BlockError> {
        self.flush()?;
        self.file.sync_all().map_err(io_at(&self.path))
    }
}

pub fn sync_directory(path: &Path) -> Result<(), BlockError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(io_at(path))
}

/// A chunk to be written. data: the sample count first, without length, encoding and checksum. Times inclusive.
#[derive(Clone, Copy, Debug)]
pub struct ChunkRef<'a> {
    pub mint: i64,
    pub maxt: i64,
    pub encoding: u8,
    pub data: &'a [u8],
}

/// What a block holds. Times are those of samples, inclusive; mint > maxt: there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockStats {
    pub series: u64,
    pub chunks: u64,
    pub samples: u64,
    pub floats: u64,
    pub histograms: u64,
    pub mint: i64,
    pub maxt: i64,
}

impl Default for BlockStats {
    fn default() -> Self {
        BlockStats {
            series: 0,
            chunks: 0,
            samples: 0,
            floats: 0,
            histograms: 0,
            mint: i64::MAX,
            maxt: i64::MIN,
        }
    }
}

impl BlockStats {
    pub fn add_chunk(&mut self, mint: i64, maxt: i64, samples: u64, histograms: bool) {
        self.chunks += 1;
        self.samples += samples;
        match histograms {
            true => self.histograms += samples,
            false => self.floats += samples,
        }
        self.mint = self.mint.min(mint);
        self.maxt = self.maxt.max(maxt);
    }
}

pub struct BlockWriter {
    directory: PathBuf,
    index: IndexWriter,
    segments: SegmentWriter,
    stats: BlockStats,
    metas: Vec<ChunkMeta>,
}

impl BlockWriter {
    /// Write into `directory`, which exists and is empty. symbols: all strings of the labels, ascending, distinct ("" is
    /// added). segment_bytes: `layout::SEGMENT_BYTES`, less in tests.
    pub fn create<'a>(
        directory: &Path,
        symbols: impl Iterator<Item = &'a str>,
        segment_bytes: u64,
    ) -> Result<Self, BlockError> {
        let chunks = directory.join("chunks");
        std::fs::create_dir(&chunks).map_err(io_at(&chunks))?;
        Ok(BlockWriter {
            index: IndexWriter::create(&directory.join("index"), symbols)?,
            segments: SegmentWriter::new(chunks, segment_bytes),
            stats: BlockStats::default(),
            metas: Vec::new(),
            directory: directory.to_path_buf(),
        })
    }

    /// Add a series. Label sets ascend strictly, labels by name, no value is empty; chunks ascend without overlap, and
    /// there is one at least. After an error the block is good for nothing.
    pub fn series(
        &mut self,
        labels: &[(&str, &str)],
        chunks: &[ChunkRef<'_>],
    ) -> Result<(), BlockError> {
        self.chunks(chunks)?;
        self.index.series(labels, &self.metas)?;
        self.stats.series += 1;
        Ok(())
    }

    /// The same with labels as numbers of the symbols that were given, from 1 on; 0 is "".
    pub fn series_by_symbols(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[ChunkRef<'_>],
    ) -> Result<(), BlockError> {
        self.chunks(chunks)?;
        self.index.series_by_symbols(labels, &self.metas)?;
        self.stats.series += 1;
        Ok(())
    }

    fn chunks(&mut self, chunks: &[ChunkRef<'_>]) -> Result<(), BlockError> {
        self.metas.clear();
        self.segments.start_series();
        for chunk in chunks {
            let (samples, histograms) = samples_of(chunk.encoding, chunk.data)
                .map_err(|error| BlockError::Order(error.to_string()))?;
            let reference = self.segments.write(chunk.encoding, chunk.data)?;
            self.metas.push(ChunkMeta {
                mint: chunk.mint,
                maxt: chunk.maxt,
                reference,
            });
            self.stats
                .add_chunk(chunk.mint, chunk.maxt, samples, histograms);
        }
        Ok(())
    }

    pub fn stats(&self) -> BlockStats {
        self.stats
    }

    /// Write the rest of the index and empty tombstones; files and directories are on the disk when this returns.
    pub fn finish(self) -> Result<BlockStats, BlockError> {
        self.segments.finish()?;
        self.index.finish()?;
        let mut output = Output::create(&self.directory.join("tombstones"))?;
        output.write(&tombstones::encode(&[]))?;
        output.finish()?;
        sync_directory(&self.directory.join("chunks"))?;
        sync_directory(&self.directory)?;
        Ok(self.stats)
    }
}
