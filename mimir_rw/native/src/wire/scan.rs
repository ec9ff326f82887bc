//! First pass over a remote write 1.0 message: where labels are, and the rest as columns.
//!
//! Labels are not looked into, only hashed as they stand.

use super::columns::Columns;
use super::exemplar_message;
use super::proto::{Malformed, Reader, Wire};
use super::remote_write::{Context, DecodeFault};
use super::series::SeriesHasher;

/// Columns as they stand in the body. Rows without sample, histogram or exemplar do not become rows.
pub struct Scan<'a> {
    reader: Reader<'a>,
    buf: &'a [u8],
    hasher: &'a SeriesHasher,
    pub columns: Columns<'a>,
    /// Rows whose labels are not one run of bytes; their label_range is the whole series message, their hash is 0.
    pub scattered: Vec<u32>,
    pub metadata: Vec<(u32, u32)>,
}

impl<'a> Scan<'a> {
    pub fn new(buf: &'a [u8], context: &Context<'a>) -> Self {
        Self {
            reader: Reader::new(buf),
            buf,
            hasher: context.hasher,
            columns: Columns::new(buf.len() / 160 + 1, context),
            scattered: Vec::new(),
            metadata: Vec::new(),
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
                    self.columns.check_metadata(self.metadata.len())?;
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
        let mut scattered = false;
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (2, Wire::Bytes) => {
                    let (from, to) = reader.bytes()?;
                    self.columns.sample(self.buf, from, to, false)?;
                }
                (1, Wire::Bytes) => {
                    scattered = true;
                    reader.bytes()?;
                }
                (3, Wire::Bytes) => {
                    let (from, to) = reader.bytes()?;
                    if self.columns.wants_exemplar() {
                        let exemplar = exemplar_message::read(self.buf, from, to)?;
                        self.columns.exemplar(exemplar)?;
                    }
                }
                (4, Wire::Bytes) => {
                    let (from, to) = reader.bytes()?;
                    self.columns.histogram(self.buf, from, to, false)?;
                }
                _ => reader.skip(number, wire)?,
            }
        }
        if self.columns.row_is_empty() {
            return Ok(());
        }
        let end = if scattered { end } else { labels_end };
        let hash = match scattered {
            true => {
                self.scattered
                    .push(self.columns.push.batch.label_range.len() as u32);
                0
            }
            false => self.hasher.hash(&self.buf[start..end]),
        };
        self.columns.row((start as u32, (end - start) as u32), hash)
    }
}
