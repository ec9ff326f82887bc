//! Integers of eight widths in a bit stream (tsdb-block.md section 6.1).

use super::bits::{BitReader, BitSink, PEEK_BITS};

/// Payload bits after one, two, ... leading ones.
const WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

#[inline]
fn put(sink: &mut impl BitSink, v: u64, ones: u32) {
    if ones == 0 {
        return sink.put(0, 1);
    }
    let width = WIDTHS[ones as usize - 1];
    // The eighth one has no zero behind it.
    let prefix = (ones + 1).min(8);
    let (control, payload) = (!(u64::MAX >> ones), v << (64 - width));
    if prefix + width <= 64 {
        return sink.put(control | payload >> prefix, prefix + width);
    }
    sink.put(control, prefix);
    sink.put(payload, width);
}

pub fn put_uint(sink: &mut impl BitSink, v: u64) {
    let used = 64 - v.leading_zeros();
    let ones = match used {
        0 => 0,
        _ => 1 + WIDTHS.iter().take_while(|&&width| width < used).count() as u32,
    };
    put(sink, v, ones);
}

pub fn put_int(sink: &mut impl BitSink, v: i64) {
    // A width holds -(2^(n-1) - 1) ..= 2^(n-1): as many bits as the value's size less one, and one for the sign.
    let used = match v {
        0 => return put(sink, 0, 0),
        1.. => 65 - (v as u64 - 1).leading_zeros(),
        _ => 65 - v.unsigned_abs().leading_zeros(),
    };
    let ones = 1 + WIDTHS[..7]
        .iter()
        .take_while(|&&width| width < used)
        .count() as u32;
    put(sink, v as u64, ones);
}

/// The payload, and the number of its bits (0 for the value 0).
#[inline(always)]
fn take(bits: &mut BitReader<'_>) -> (u64, u32) {
    let word = bits.peek();
    let ones = word.leading_ones().min(8);
    if ones == 0 {
        bits.consume(1);
        return (0, 0);
    }
    let (prefix, width) = ((ones + 1).min(8), WIDTHS[ones as usize - 1]);
    bits.consume(prefix);
    if prefix + width <= PEEK_BITS {
        bits.consume(width);
        return (word << prefix >> (64 - width), width);
    }
    (bits.take(width), width)
}

#[inline(always)]
pub fn uint(bits: &mut BitReader<'_>) -> u64 {
    take(bits).0
}

#[inline(always)]
pub fn int(bits: &mut BitReader<'_>) -> i64 {
    let (v, width) = take(bits);
    if width == 0 || width == 64 || v <= 1 << (width - 1) {
        return v as i64;
    }
    (v as i64).wrapping_sub(1 << width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bits::BitVec;

    #[test]
    fn every_edge_round_trips_in_its_width() {
        let mut ints = vec![0, i64::MAX, i64::MIN];
        let mut uints = vec![0, u64::MAX];
        for width in &WIDTHS[..7] {
            let half = 1i64 << (width - 1);
            ints.extend([half, half + 1, half - 1, -half, -half + 1, -half - 1]);
            let full = 1u64 << width;
            uints.extend([full, full - 1, full + 1]);
        }
        let mut sink = BitVec::default();
        ints.iter().for_each(|&v| put_int(&mut sink, v));
        uints.iter().for_each(|&v| put_uint(&mut sink, v));
        let mut bits = BitReader::new(&sink.bytes);
        for v in ints {
            assert_eq!(int(&mut bits), v);
        }
        for v in uints {
            assert_eq!(uint(&mut bits), v);
        }
        assert!(!bits.overrun());
    }

    #[test]
    fn widths_are_those_of_the_format() {
        let width = |v: i64| {
            let mut sink = BitVec::default();
            put_int(&mut sink, v);
            sink.bytes.len()
        };
        let cases = [
            (0, 1),
            (4, 1),
            (-3, 1),
            (5, 2),
            (32, 2),
            (33, 2),
            (256, 2),
            (257, 3),
            (2048, 3),
        ];
        for (v, bytes) in
            cases
                .into_iter()
                .chain([(131_072, 3), (131_073, 4), (-16_777_216, 8), (i64::MIN, 9)])
        {
            assert_eq!(width(v), bytes, "{v}");
        }
    }
}
