//! The tombstones file: intervals of series that are deleted. We write empty ones and read what others wrote.

use super::layout::CRC_BYTES;
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_varint};

const MAGIC: [u8; 4] = [0x01, 0x30, 0xBA, 0x30];
const VERSION: u8 = 1;

/// Times inclusive; series: the id in this block's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    pub series: u64,
    pub mint: i64,
    pub maxt: i64,
}

pub fn encode(tombstones: &[Tombstone]) -> Vec<u8> {
    let mut out = Vec::from(MAGIC);
    out.push(VERSION);
    let start = out.len();
    for tombstone in tombstones {
        put_uvarint(&mut out, tombstone.series);
        put_varint(&mut out, tombstone.mint);
        put_varint(&mut out, tombstone.maxt);
    }
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

pub fn decode(bytes: &[u8]) -> Result<Vec<Tombstone>, Damaged> {
    let mut cursor = Cursor::new(bytes);
    if cursor.bytes(4)? != MAGIC || cursor.u8()? != VERSION {
        return Err(Damaged("this is not a tombstones file of version 1"));
    }
    let len = cursor
        .remaining()
        .checked_sub(CRC_BYTES as usize)
        .ok_or(Damaged("a tombstones file ends early"))?;
    let entries = cursor.bytes(len)?;
    if crc32c::crc32c(entries).to_be_bytes() != cursor.bytes(CRC_BYTES as usize)? {
        return Err(Damaged("the checksum of the tombstones differs"));
    }
    let mut cursor = Cursor::new(entries);
    let mut tombstones = Vec::new();
    while !cursor.is_empty() {
        tombstones.push(Tombstone {
            series: cursor.uvarint()?,
            mint: cursor.varint()?,
            maxt: cursor.varint()?,
        });
    }
    Ok(tombstones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_the_specification() {
        let empty = [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0];
        assert_eq!(encode(&[]), empty);
        let one = Tombstone {
            series: 7,
            mint: 1000,
            maxt: 2000,
        };
        let bytes = encode(&[one]);
        let want = [
            0x01, 0x30, 0xba, 0x30, 1, 7, 0xd0, 0x0f, 0xa0, 0x1f, 0x7b, 0xc2, 0xe7, 0x88,
        ];
        assert_eq!(bytes, want);
        assert_eq!(decode(&bytes), Ok(vec![one]));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err());
        }
    }
}
