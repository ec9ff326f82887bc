//! First pass over a remote write message: where labels are, and samples as columns.
//!
//! Labels are not looked into, only hashed as they stand; histograms and exemplars are counted. All numbers that an
//! attacker could make large beside a small body are bounded.

use super::proto::{Malformed, Reader, Wire};
use super::remote_write::{Context, DecodeFault, Push, samples_of};
use super::series::SeriesHasher;
use super::validate::adjust_process;

/// Rows, samples and metadata that any body may have, however small its bound.
const COUNT_FLOOR: usize = 1 << 16;

/// Columns as they stand in the body. Rows without sample or histogram do not become rows.
pub struct Scan<'a> {
    reader: Reader<'a>,
    buf: &'a [u8],
    hasher: &'a SeriesHasher,
    rows_max: usize,
    samples_max: usize,
    metadata_max: usize,
    pub push: Push,
    /// Rows whose labels are not one run of bytes; their label_range is the whole series message, their hash is 0.
    pub scattered: Vec<u32>,
    /// Row and number of its native histograms, ascending by row.
    pub histograms: Vec<(u32, u32)>,
    pub metadata: Vec<(u32, u32)>,
    pub oldest_ms: i64,
    pub newest_ms: i64,
}

impl<'a> Scan<'a> {
    pub fn new(buf: &'a [u8], context: &Context<'a>) -> Self {
        let rows = buf.len() / 160 + 1;
        let mut push = Push::default();
        push.batch.label_range.reserve(rows);
        push.batch.hash.reserve(rows);
        push.batch.sample_end.reserve(rows);
        push.batch.ts.reserve(rows);
        push.batch.values.reserve(rows);
        Self {
            reader: Reader::new(buf),
            buf,
            hasher: context.hasher,
            rows_max: (context.bytes_max / 36).max(COUNT_FLOOR),
            samples_max: (context.bytes_max / 8).max(COUNT_FLOOR),
            metadata_max: (context.bytes_max / 128).max(COUNT_FLOOR),
            push,
            scattered: Vec::new(),
            histograms: Vec::new(),
            metadata: Vec::new(),
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
        }
    }

    pub fn body(&mut self) -> Result<(), DecodeFault> {
        let mut messages = 0usize;
        while let Some((number, wire)) = self.reader.field()? {
            match (number, wire) {
                (1, Wire::Bytes) => {
                    let (start, end) = self.reader.bytes()?;
                    self.series(start, end)?;
                    messages += 1;
                }
                (3, Wire::Bytes) => {
                    let (start, end) = self.reader.bytes()?;
                    if self.metadata.len() == self.metadata_max {
                        return Err(too_many("metadata entries", self.metadata_max));
                    }
                    self.metadata.push((start as u32, end as u32));
                    messages += 1;
                }
                _ => self.reader.skip(number, wire)?,
            }
        }
        if messages == 0 && !self.buf.is_empty() {
            return Err(Malformed("it holds neither series nor metadata").into());
        }
        Ok(())
    }

    fn series(&mut self, start: usize, end: usize) -> Result<(), DecodeFault> {
        let mut reader = Reader::within(self.buf, start, end);
        while reader.rest().first() == Some(&0x0a) {
            reader.advance(1);
            reader.bytes()?;
        }
        let labels_end = reader.pos();
        let samples_before = self.push.batch.ts.len();
        let (mut scattered, mut histograms) = (false, 0u32);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (2, Wire::Bytes) => {
                    let (from, to) = reader.bytes()?;
                    self.sample(from, to)?;
                }
                (1, Wire::Bytes) => {
                    scattered = true;
                    reader.bytes()?;
                }
                (3, Wire::Bytes) => {
                    self.push.exemplars_dropped += 1;
                    reader.bytes()?;
                }
                (4, Wire::Bytes) => {
                    histograms += 1;
                    reader.bytes()?;
                }
                _ => reader.skip(number, wire)?,
            }
        }
        if self.push.batch.ts.len() == samples_before && histograms == 0 {
            return Ok(());
        }
        self.row(
            start,
            if scattered { end } else { labels_end },
            scattered,
            histograms,
        )
    }

    fn row(
        &mut self,
        start: usize,
        end: usize,
        scattered: bool,
        histograms: u32,
    ) -> Result<(), DecodeFault> {
        let batch = &mut self.push.batch;
        let row = batch.label_range.len();
        if row == self.rows_max {
            return Err(too_many("series", self.rows_max));
        }
        if scattered {
            self.scattered.push(row as u32);
            batch.hash.push(0);
        } else {
            batch.hash.push(self.hasher.hash(&self.buf[start..end]));
        }
        batch.label_range.push((start as u32, (end - start) as u32));
        batch.sample_end.push(batch.ts.len() as u32);
        if histograms > 0 {
            self.histograms.push((row as u32, histograms));
        }
        let sent = samples_of(batch, row) + u64::from(histograms);
        self.push.samples_received += sent;
        Ok(())
    }

    #[inline]
    fn sample(&mut self, start: usize, end: usize) -> Result<(), DecodeFault> {
        if self.push.batch.ts.len() == self.samples_max {
            return Err(too_many("samples", self.samples_max));
        }
        let mut reader = Reader::within(self.buf, start, end);
        let (mut value, mut ts) = (0u64, 0i64);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Fixed64) => value = reader.fixed64()?,
                (2, Wire::Varint) => ts = reader.varint()? as i64,
                _ => reader.skip(number, wire)?,
            }
        }
        self.oldest_ms = self.oldest_ms.min(ts);
        self.newest_ms = self.newest_ms.max(ts);
        self.push.batch.ts.push(ts);
        self.push.batch.values.push(f64::from_bits(value));
        Ok(())
    }
}

fn too_many(what: &str, max: usize) -> DecodeFault {
    DecodeFault::TooLarge(format!(
        "the write request has more than {max} {what}, too many for the limit on its bytes; {}",
        adjust_process("distributor.max-recv-msg-size")
    ))
}
