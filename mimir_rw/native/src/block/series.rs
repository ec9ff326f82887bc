//! Entries of an index's series section.

use super::BlockError;
use super::layout::{CRC_BYTES, SERIES_ALIGN};
use super::source::Stream;
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_varint};

/// A chunk of a series: times inclusive; reference: segment << 32 | offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    pub mint: i64,
    pub maxt: i64,
    pub reference: u64,
}

impl ChunkMeta {
    pub fn segment(&self) -> u32 {
        (self.reference >> 32) as u32
    }

    pub fn offset(&self) -> u32 {
        self.reference as u32
    }

    pub fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        self.mint <= maxt && self.maxt >= mint
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Offset in the index / 16.
    pub id: u32,
    /// Symbols of names and values, by name ascending.
    pub labels: Vec<(u32, u32)>,
    /// By time, without overlaps.
    pub chunks: Vec<ChunkMeta>,
}

/// The body of an entry.
pub fn encode(labels: &[(u32, u32)], chunks: &[ChunkMeta], out: &mut Vec<u8>) {
    put_uvarint(out, labels.len() as u64);
    for &(name, value) in labels {
        put_uvarint(out, u64::from(name));
        put_uvarint(out, u64::from(value));
    }
    put_uvarint(out, chunks.len() as u64);
    let mut before: Option<&ChunkMeta> = None;
    for chunk in chunks {
        match before {
            None => put_varint(out, chunk.mint),
            Some(before) => put_uvarint(out, chunk.mint.wrapping_sub(before.maxt) as u64),
        }
        put_uvarint(out, chunk.maxt.wrapping_sub(chunk.mint) as u64);
        match before {
            None => put_uvarint(out, chunk.reference),
            Some(before) => {
                put_varint(out, chunk.reference.wrapping_sub(before.reference) as i64);
            }
        }
        before = Some(chunk);
    }
}

/// Read a body into `entry`, whose id stays.
pub fn decode(body: &[u8], entry: &mut SeriesEntry) -> Result<(), Damaged> {
    let mut cursor = Cursor::new(body);
    decode_labels(&mut cursor, &mut entry.labels)?;
    decode_chunks(&mut cursor, &mut entry.chunks)?;
    match cursor.is_empty() {
        true => Ok(()),
        false => Err(Damaged("a series has bytes behind its chunks")),
    }
}

fn decode_labels(cursor: &mut Cursor<'_>, labels: &mut Vec<(u32, u32)>) -> Result<(), Damaged> {
    labels.clear();
    let count = cursor.uvarint()?;
    if count > cursor.remaining() as u64 / 2 {
        return Err(Damaged("a series has more labels than it can hold"));
    }
    let symbol = |cursor: &mut Cursor<'_>| {
        u32::try_from(cursor.uvarint()?).map_err(|_| Damaged("a symbol's number is too large"))
    };
    for _ in 0..count {
        let label = (symbol(cursor)?, symbol(cursor)?);
        if labels.last().is_some_and(|before| before.0 >= label.0) {
            return Err(Damaged("the labels of a series do not ascend"));
        }
        labels.push(label);
    }
    Ok(())
}

fn decode_chunks(cursor: &mut Cursor<'_>, chunks: &mut Vec<ChunkMeta>) -> Result<(), Damaged> {
    chunks.clear();
    let count = cursor.uvarint()?;
    if count > cursor.remaining() as u64 / 3 {
        return Err(Damaged("a series has more chunks than it can hold"));
    }
    const LATE: Damaged = Damaged("a chunk's time overflows");
    for _ in 0..count {
        let before = chunks.last();
        let mint = match before {
            None => cursor.varint()?,
            Some(before) => before
                .maxt
                .checked_add_unsigned(cursor.uvarint()?)
                .ok_or(LATE)?,
        };
        let maxt = mint.checked_add_unsigned(cursor.uvarint()?).ok_or(LATE)?;
        let reference = match before {
            None => cursor.uvarint()?,
            Some(before) => before
                .reference
                .checked_add_signed(cursor.varint()?)
                .ok_or(Damaged("a chunk's reference overflows"))?,
        };
        chunks.push(ChunkMeta {
            mint,
            maxt,
            reference,
        });
    }
    Ok(())
}

/// Read the entry at the stream's position (a multiple of 16), checking its checksum.
pub fn read(stream: &mut Stream<'_>, entry: &mut SeriesEntry) -> Result<(), BlockError> {
    let at = stream.position();
    entry.id = u32::try_from(at / SERIES_ALIGN)
        .map_err(|_| stream.damaged("a series lies beyond 64 GiB"))?;
    let len = stream.uvarint()?;
    if len.saturating_add(CRC_BYTES) > stream.remaining() {
        return Err(stream.damaged("a series reaches beyond its section"));
    }
    let bytes = stream.bytes(len + CRC_BYTES)?;
    let (body, crc) = bytes.split_at(len as usize);
    let read = match crc32c::crc32c(body).to_be_bytes() == crc {
        true => decode(body, entry),
        false => Err(Damaged("the checksum of a series differs")),
    };
    read.map_err(|error| stream.damaged_at(at, error))
}
