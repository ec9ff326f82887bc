//! Bit streams, most significant bit first (tsdb-block.md section 6).

/// Where an appender puts bits. Bits past what was put are zero.
pub trait BitSink {
    /// Append the top `n` bits of `left` (0 <= n <= 64); its other bits are zero.
    fn put(&mut self, left: u64, n: u32);
}

/// A bit stream in one vector.
#[derive(Clone, Debug, Default)]
pub struct BitVec {
    pub bytes: Vec<u8>,
    /// Free bits of the last byte.
    free: u32,
}

impl BitSink for BitVec {
    #[inline]
    fn put(&mut self, left: u64, n: u32) {
        let used = (8 - self.free) % 8;
        let start = self.bytes.len() - usize::from(used > 0);
        let end = used + n;
        self.bytes.resize(start + end.div_ceil(8) as usize, 0);
        let wide = (u128::from(left) << 64 >> used).to_be_bytes();
        for (to, from) in self.bytes[start..].iter_mut().zip(wide) {
            *to |= from;
        }
        self.free = (8 - end % 8) % 8;
    }
}

/// Reads bits at a position. Past the end it delivers zeros; `overrun` says that it did.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    data: &'a [u8],
    bit: usize,
}

/// Bits that one `peek` delivers at least.
pub const PEEK_BITS: u32 = 57;

impl<'a> BitReader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        BitReader { data, bit: 0 }
    }

    /// The next `PEEK_BITS` bits, left-aligned; what is below them may be zero.
    #[inline(always)]
    pub fn peek(&self) -> u64 {
        let at = self.bit / 8;
        let word = match self.data.get(at..at + 8).and_then(<[u8]>::first_chunk) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => tail_word(self.data, at),
        };
        word << (self.bit % 8)
    }

    /// Bits consumed so far.
    pub fn position(&self) -> usize {
        self.bit
    }

    /// Bits that are left.
    pub fn remaining(&self) -> u64 {
        (self.data.len() as u64 * 8).saturating_sub(self.bit as u64)
    }

    #[inline(always)]
    pub fn consume(&mut self, n: u32) {
        self.bit += n as usize;
    }

    /// The next `n` bits (1 <= n <= 64), right-aligned.
    #[inline(always)]
    pub fn take(&mut self, n: u32) -> u64 {
        if n <= PEEK_BITS {
            let v = self.peek() >> (64 - n);
            self.consume(n);
            return v;
        }
        let high = self.take(32);
        high << (n - 32) | self.take(n - 32)
    }

    /// What was read cannot be: from now on the stream is overrun.
    #[cold]
    pub fn spoil(&mut self) {
        self.bit = usize::MAX / 2;
    }

    /// Whether more bits were consumed than the data has.
    #[inline(always)]
    pub fn overrun(&self) -> bool {
        self.bit > self.data.len() * 8
    }
}

/// Whether two streams have the same first `bits` bits; not when one of them is shorter.
pub fn same_bits(a: &[u8], b: &[u8], bits: usize) -> bool {
    let (whole, rest) = (bits / 8, bits % 8);
    let (Some(a_whole), Some(b_whole)) = (a.get(..whole), b.get(..whole)) else {
        return false;
    };
    let last = |bytes: &[u8]| Some(bytes.get(whole)? >> (8 - rest));
    a_whole == b_whole && (rest == 0 || (last(a).is_some() && last(a) == last(b)))
}

#[cold]
fn tail_word(data: &[u8], at: usize) -> u64 {
    let mut bytes = [0u8; 8];
    let rest = data.get(at..).unwrap_or(&[]);
    let n = rest.len().min(8);
    bytes[..n].copy_from_slice(&rest[..n]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        let widths = [1u32, 64, 3, 57, 7, 8, 56, 33, 2, 64, 64, 5];
        let mut sink = BitVec::default();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut want = Vec::new();
        for (i, n) in widths.iter().cycle().take(500).enumerate() {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(i as u64);
            let v = seed >> (64 - n);
            want.push((v, *n));
            sink.put(v << (64 - n), *n);
        }
        let mut r = BitReader::new(&sink.bytes);
        for (v, n) in want {
            assert_eq!(r.take(n), v);
            assert!(!r.overrun());
        }
        for _ in 0..8 {
            r.take(1);
        }
        assert!(r.overrun());
    }
}
