//! Base-128 integers as Go's encoding/binary writes them, and the fixed big-endian ones beside them.

use super::Damaged;

/// Longest encoding of a 64-bit integer.
pub const VARINT_BYTES_MAX: usize = 10;

pub fn put_uvarint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

pub fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

pub fn unzigzag(u: u64) -> i64 {
    (u >> 1) as i64 ^ -((u & 1) as i64)
}

pub fn put_varint(out: &mut Vec<u8>, v: i64) {
    put_uvarint(out, zigzag(v));
}

/// Length-prefixed bytes.
pub fn put_uvstr(out: &mut Vec<u8>, s: &[u8]) {
    put_uvarint(out, s.len() as u64);
    out.extend_from_slice(s);
}

/// Cursor over bytes at rest; every read past the end is `Damaged`.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Damaged> {
        let (head, tail) = self
            .rest
            .split_at_checked(n)
            .ok_or(Damaged("record ends early"))?;
        self.rest = tail;
        Ok(head)
    }

    pub fn u8(&mut self) -> Result<u8, Damaged> {
        let (&first, tail) = self
            .rest
            .split_first()
            .ok_or(Damaged("record ends early"))?;
        self.rest = tail;
        Ok(first)
    }

    pub fn be64(&mut self) -> Result<u64, Damaged> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<8>()
            .ok_or(Damaged("record ends early"))?;
        self.rest = tail;
        Ok(u64::from_be_bytes(*head))
    }

    pub fn uvarint(&mut self) -> Result<u64, Damaged> {
        let mut v = 0u64;
        for i in 0..VARINT_BYTES_MAX {
            let b = self.u8()?;
            if i == VARINT_BYTES_MAX - 1 && b > 1 {
                return Err(Damaged("varint overflows 64 bits"));
            }
            v |= u64::from(b & 0x7f) << (7 * i);
            if b < 0x80 {
                return Ok(v);
            }
        }
        Err(Damaged("varint overflows 64 bits"))
    }

    pub fn varint(&mut self) -> Result<i64, Damaged> {
        Ok(unzigzag(self.uvarint()?))
    }

    pub fn uvstr(&mut self) -> Result<&'a [u8], Damaged> {
        let n = self.uvarint()?;
        let n = usize::try_from(n).map_err(|_| Damaged("string length overflows"))?;
        self.bytes(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_at_the_edges() {
        for v in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, 1_600_000_000_000] {
            let mut out = Vec::new();
            put_varint(&mut out, v);
            let mut c = Cursor::new(&out);
            assert_eq!(c.varint(), Ok(v));
            assert!(c.is_empty());
        }
    }

    #[test]
    fn refuses_eleven_bytes_and_a_tenth_over_one() {
        assert!(Cursor::new(&[0xff; 11]).uvarint().is_err());
        let mut ten = [0xff; 10];
        ten[9] = 2;
        assert!(Cursor::new(&ten).uvarint().is_err());
        ten[9] = 1;
        assert_eq!(Cursor::new(&ten).uvarint(), Ok(u64::MAX));
    }
}
