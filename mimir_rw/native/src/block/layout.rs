//! Constants of the files, and the table of contents at the end of an index.

use crate::codec::Damaged;
use crate::codec::varint::Cursor;

pub const INDEX_MAGIC: [u8; 4] = [0xBA, 0xAA, 0xD7, 0x00];
/// The only version that Mimir accepts.
pub const INDEX_VERSION: u8 = 2;
pub const INDEX_HEADER_BYTES: u64 = 5;
pub const SEGMENT_MAGIC: [u8; 4] = [0x85, 0xBD, 0x40, 0xDD];
pub const SEGMENT_VERSION: u8 = 1;
pub const SEGMENT_HEADER_BYTES: u64 = 8;
/// What a segment holds at most.
pub const SEGMENT_BYTES: u64 = 512 << 20;
pub const TOC_BYTES: u64 = 52;
pub const CRC_BYTES: u64 = 4;
pub const SERIES_ALIGN: u64 = 16;
/// Of symbols, and of the values of a label, every so many-th stays in memory.
pub const SAMPLING: usize = 32;

/// Where the sections of an index begin; 0: absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toc {
    pub symbols: u64,
    pub series: u64,
    pub label_indices: u64,
    pub label_index_table: u64,
    pub postings: u64,
    pub postings_table: u64,
}

impl Toc {
    pub fn encode(&self) -> [u8; TOC_BYTES as usize] {
        let mut out = [0; TOC_BYTES as usize];
        let fields = [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_index_table,
            self.postings,
            self.postings_table,
        ];
        for (place, field) in out.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        let crc = crc32c::crc32c(&out[..48]).to_be_bytes();
        out[48..].copy_from_slice(&crc);
        out
    }

    /// `bytes`: the last 52 of an index of `size` bytes.
    pub fn decode(bytes: &[u8], size: u64) -> Result<Self, Damaged> {
        let mut cursor = Cursor::new(bytes);
        let fields = cursor.bytes(48)?;
        let crc = cursor.bytes(4)?;
        if crc32c::crc32c(fields).to_be_bytes() != crc {
            return Err(Damaged("the checksum of the table of contents differs"));
        }
        let mut fields = Cursor::new(fields);
        let mut next = || fields.be64();
        let toc = Toc {
            symbols: next()?,
            series: next()?,
            label_indices: next()?,
            label_index_table: next()?,
            postings: next()?,
            postings_table: next()?,
        };
        toc.check(size)?;
        Ok(toc)
    }

    fn check(&self, size: u64) -> Result<(), Damaged> {
        let end = size
            .checked_sub(TOC_BYTES)
            .ok_or(Damaged("an index is too short for its table of contents"))?;
        let ascending = INDEX_HEADER_BYTES <= self.symbols
            && self.symbols < self.series
            && self.series <= self.postings
            && self.postings <= self.postings_table
            && self.postings_table < end
            && self.label_indices <= end
            && self.label_index_table <= end;
        match ascending {
            true => Ok(()),
            false => Err(Damaged("the sections of an index are out of order")),
        }
    }

    /// Where the series section ends: at the sections that old writers put behind it, or at the postings.
    pub fn series_end(&self) -> u64 {
        match self.label_indices {
            at if at >= self.series && at < self.postings => at,
            _ => self.postings,
        }
    }

    /// Where the last postings list ends.
    pub fn postings_end(&self) -> u64 {
        match self.label_index_table {
            at if at >= self.postings && at < self.postings_table => at,
            _ => self.postings_table,
        }
    }
}
