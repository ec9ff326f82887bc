//! XOR chunks (encoding 1; tsdb-block.md section 7).
//!
//! A chunk is a big-endian 16-bit sample count and a bit stream. The appender writes the stream only, into any
//! `BitSink`, so that an open chunk can live in a head's blocks; whoever closes it puts the count in front.

use super::Damaged;
use super::bits::{BitReader, BitSink, BitVec, same_bits};
use super::varint::{VARINT_BYTES_MAX, unzigzag, zigzag};

/// `lead` before the first window of significant bits.
pub const LEAD_UNSET: u8 = 0xff;

/// Most samples that one chunk may hold.
pub const SAMPLES_MAX: usize = u16::MAX as usize;

/// Where an open chunk stands: all that the next append needs to know.
#[derive(Clone, Copy, Debug)]
pub struct XorState {
    pub t: i64,
    /// Bits of the last value.
    pub v: u64,
    pub delta: u64,
    pub count: u16,
    pub lead: u8,
    pub trail: u8,
}

impl Default for XorState {
    fn default() -> Self {
        XorState {
            t: 0,
            v: 0,
            delta: 0,
            count: 0,
            lead: LEAD_UNSET,
            trail: 0,
        }
    }
}

impl XorState {
    /// Append one sample; `t` is later than the last one's and `count` below `SAMPLES_MAX` (the caller sees to it).
    #[inline]
    pub fn append(&mut self, sink: &mut impl BitSink, t: i64, v: u64) {
        match self.count {
            0 => {
                put_uvarint_bits(sink, zigzag(t));
                sink.put(v, 64);
            }
            1 => {
                self.delta = t.wrapping_sub(self.t) as u64;
                put_uvarint_bits(sink, self.delta);
                self.put_value(sink, v);
            }
            _ => {
                let delta = t.wrapping_sub(self.t) as u64;
                put_dod(sink, delta.wrapping_sub(self.delta) as i64);
                self.delta = delta;
                self.put_value(sink, v);
            }
        }
        self.t = t;
        self.v = v;
        self.count += 1;
    }

    #[inline(always)]
    fn put_value(&mut self, sink: &mut impl BitSink, v: u64) {
        put_xor(sink, v ^ self.v, &mut self.lead, &mut self.trail);
    }
}

/// A value as its difference `x` to the one before, in or outside of the window of significant bits (section 7.2).
#[inline(always)]
pub fn put_xor(sink: &mut impl BitSink, x: u64, lead: &mut u8, trail: &mut u8) {
    if x == 0 {
        return sink.put(0, 1);
    }
    let zeros = (x.leading_zeros().min(31) as u8, x.trailing_zeros() as u8);
    if *lead != LEAD_UNSET && zeros.0 >= *lead && zeros.1 >= *trail {
        let n = 64 - u32::from(*lead) - u32::from(*trail);
        sink.put(0b10 << 62, 2);
        return sink.put((x >> *trail) << (64 - n), n);
    }
    (*lead, *trail) = zeros;
    let n = 64 - u32::from(*lead) - u32::from(*trail);
    let control = 0b11 << 11 | u64::from(*lead) << 6 | u64::from(n & 63);
    sink.put(control << 51, 13);
    sink.put((x >> *trail) << (64 - n), n);
}

fn put_uvarint_bits(sink: &mut impl BitSink, mut v: u64) {
    while v >= 0x80 {
        sink.put((v & 0x7f | 0x80) << 56, 8);
        v >>= 7;
    }
    sink.put(v << 56, 8);
}

/// Whether `x` fits `n` bits by the signed window rule of section 6.
fn fits(x: i64, n: u32) -> bool {
    let half = 1i64 << (n - 1);
    -(half - 1) <= x && x <= half
}

#[inline]
fn put_dod(sink: &mut impl BitSink, dod: i64) {
    if dod == 0 {
        sink.put(0, 1);
    } else if fits(dod, 14) {
        sink.put((0b10 << 14 | dod as u64 & 0x3fff) << 48, 16);
    } else if fits(dod, 17) {
        sink.put((0b110 << 17 | dod as u64 & 0x1_ffff) << 44, 20);
    } else if fits(dod, 20) {
        sink.put((0b1110 << 20 | dod as u64 & 0xf_ffff) << 40, 24);
    } else {
        sink.put(0b1111 << 60, 4);
        sink.put(dod as u64, 64);
    }
}

/// Number of samples that the chunk says it has.
pub fn sample_count(chunk: &[u8]) -> Result<usize, Damaged> {
    match chunk {
        [a, b, ..] => Ok(usize::from(u16::from_be_bytes([*a, *b]))),
        _ => Err(Damaged("XOR chunk: no sample count")),
    }
}

/// Decode the samples with mint <= t <= maxt and push them to the columns. Reading stops after maxt.
///
/// Damaged: the stream ends early, time does not ascend, or a value is wider than 64 bits. The columns then hold
/// samples that mean nothing.
pub fn decode_into(
    chunk: &[u8],
    mint: i64,
    maxt: i64,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), Damaged> {
    let count = sample_count(chunk)?;
    let mut reader = XorReader::new(&chunk[2..]);
    let mut keep = |reader: &XorReader<'_>| {
        if reader.t >= mint && reader.t <= maxt {
            ts.push(reader.t);
            values.push(f64::from_bits(reader.v));
        }
        reader.t <= maxt
    };
    if count > 0 {
        reader.first()?;
        keep(&reader);
    }
    if count > 1 {
        reader.second()?;
        keep(&reader);
    }
    for _ in 2..count {
        reader.next_sample();
        if !keep(&reader) {
            break;
        }
    }
    reader.check()
}

/// A number of samples, and how many bits of the stream they are: to find out whether another chunk with so many samples
/// is the beginning of the one that is read.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    count: usize,
    bits: usize,
}

impl Mark {
    pub fn at(count: usize) -> Self {
        Mark { count, bits: 0 }
    }

    /// Whether `beginning` has the same samples as `chunk` had, as far as it was read.
    pub fn agrees(&self, chunk: &[u8], beginning: &[u8]) -> bool {
        match (chunk.get(2..), beginning.get(2..)) {
            (Some(chunk), Some(beginning)) => same_bits(chunk, beginning, self.bits),
            _ => false,
        }
    }
}

/// As `decode_into`; fills the marks, which ascend by count.
pub fn decode_marked(
    chunk: &[u8],
    mint: i64,
    maxt: i64,
    marks: &mut [Mark],
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), Damaged> {
    let count = sample_count(chunk)?;
    let mut reader = XorReader::new(&chunk[2..]);
    let mut read = 0;
    let mut more = true;
    for at in 0..=marks.len() {
        let until = marks.get(at).map_or(count, |mark| mark.count.min(count));
        while more && read < until {
            match read {
                0 => reader.first()?,
                1 => reader.second()?,
                _ => reader.next_sample(),
            }
            read += 1;
            if reader.t >= mint && reader.t <= maxt {
                ts.push(reader.t);
                values.push(f64::from_bits(reader.v));
            }
            more = reader.t <= maxt;
        }
        if let Some(mark) = marks.get_mut(at) {
            mark.bits = reader.bits.position();
        }
    }
    reader.check()
}

/// A chunk of samples in ascending time, at most `SAMPLES_MAX`.
pub fn chunk_of(samples: &[(i64, u64)]) -> Vec<u8> {
    let mut state = XorState::default();
    let mut stream = BitVec::default();
    for &(t, v) in samples {
        state.append(&mut stream, t, v);
    }
    let mut chunk = state.count.to_be_bytes().to_vec();
    chunk.extend_from_slice(&stream.bytes);
    chunk
}

/// The bit stream of one chunk, sample by sample.
///
/// Damage is remembered, not returned: the loop stays tight, and what is read past the end are zeros, that is, as many
/// samples as the count says and no more.
#[derive(Clone, Copy, Debug)]
struct XorReader<'a> {
    bits: BitReader<'a>,
    t: i64,
    delta: u64,
    v: u64,
    lead: u32,
    trail: u32,
    damaged: bool,
}

impl<'a> XorReader<'a> {
    fn new(stream: &'a [u8]) -> Self {
        XorReader {
            bits: BitReader::new(stream),
            t: 0,
            delta: 0,
            v: 0,
            lead: 0,
            trail: 0,
            damaged: false,
        }
    }

    fn check(&self) -> Result<(), Damaged> {
        if self.bits.overrun() {
            return Err(Damaged("XOR chunk: ends early"));
        }
        if self.damaged {
            return Err(Damaged(
                "XOR chunk: time does not ascend, or a value is too wide",
            ));
        }
        Ok(())
    }

    #[inline(always)]
    fn first(&mut self) -> Result<(), Damaged> {
        self.t = unzigzag(self.uvarint()?);
        self.v = self.bits.take(64);
        Ok(())
    }

    #[inline(always)]
    fn second(&mut self) -> Result<(), Damaged> {
        self.delta = self.uvarint()?;
        self.advance();
        let word = self.bits.peek();
        self.value(word, 0);
        Ok(())
    }

    #[inline(always)]
    fn uvarint(&mut self) -> Result<u64, Damaged> {
        let mut v = 0u64;
        for i in 0..VARINT_BYTES_MAX {
            let b = self.bits.take(8);
            v |= (b & 0x7f).unbounded_shl(7 * i as u32);
            if b < 0x80 {
                return Ok(v);
            }
        }
        Err(Damaged("XOR chunk: varint overflows"))
    }

    #[inline(always)]
    fn advance(&mut self) {
        let t = self.t.wrapping_add(self.delta as i64);
        self.damaged |= t <= self.t;
        self.t = t;
    }

    /// Read a sample after the second. One look at the bits covers its time and the control bits of its value.
    #[inline(always)]
    fn next_sample(&mut self) {
        let word = self.bits.peek();
        let (dod, used) = match (!word).leading_zeros() {
            0 => (0, 1),
            1 => (window::<14>(word << 2), 16),
            2 => (window::<17>(word << 3), 20),
            3 => (window::<20>(word << 4), 24),
            _ => {
                *self = self.after_escape();
                return;
            }
        };
        self.delta = self.delta.wrapping_add(dod as u64);
        self.advance();
        self.value(word << used, used);
    }

    /// A rare sample; by value, so that the reader of the common ones stays in registers.
    #[cold]
    #[inline(never)]
    fn after_escape(mut self) -> Self {
        self.bits.consume(4);
        self.delta = self.delta.wrapping_add(self.bits.take(64));
        self.advance();
        let word = self.bits.peek();
        self.value(word, 0);
        self
    }

    /// Read a value. `word` holds the next bits, left-aligned, at least 33; `before` bits are to be consumed first.
    #[inline(always)]
    fn value(&mut self, word: u64, before: u32) {
        if word >> 63 == 0 {
            return self.bits.consume(before + 1);
        }
        if word >> 62 == 0b11 {
            self.lead = (word >> 57 & 31) as u32;
            let n = (word >> 51 & 63) as u32;
            let n = if n == 0 { 64 } else { n };
            self.damaged |= self.lead + n > 64;
            self.trail = (64 - n).saturating_sub(self.lead);
            self.bits.consume(before + 13);
        } else {
            self.bits.consume(before + 2);
        }
        let n = 64 - self.lead - self.trail;
        self.v ^= self.bits.take(n) << self.trail;
    }
}

/// The top `N` bits by the signed window rule.
#[inline(always)]
fn window<const N: u32>(left: u64) -> i64 {
    let v = (left >> (64 - N)) as i64;
    if v > 1 << (N - 1) { v - (1 << N) } else { v }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
        chunk_of(&bits(samples))
    }

    fn decode(chunk: &[u8]) -> Result<Vec<(i64, u64)>, Damaged> {
        let (mut ts, mut vs) = (Vec::new(), Vec::new());
        decode_into(chunk, i64::MIN, i64::MAX, &mut ts, &mut vs)?;
        Ok(ts
            .into_iter()
            .zip(vs.into_iter().map(f64::to_bits))
            .collect())
    }

    fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
        samples.iter().map(|(t, v)| (*t, v.to_bits())).collect()
    }

    #[test]
    fn spec_example() {
        let samples = [
            (1_600_000_000_000, 1.0),
            (1_600_000_015_000, 1.0),
            (1_600_000_030_000, 2.0),
            (1_600_000_045_010, 2.5),
        ];
        let want = "0004 8080f4f6905d 3ff0000000000000 9875 3097ffe002b683";
        let want: Vec<u8> = {
            let hex: Vec<u8> = want.bytes().filter(|b| *b != b' ').collect();
            hex.chunks(2)
                .map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap())
                .collect()
        };
        assert_eq!(encode(&samples), want);
        assert_eq!(decode(&want).unwrap(), bits(&samples));
    }

    #[test]
    fn every_window_edge_of_time_round_trips() {
        for edge in [14u32, 17, 20] {
            let half = 1i64 << (edge - 1);
            for dod in [half, half + 1, -(half - 1), -half, -half - 1, 0, 1, -1] {
                let base = 10_000_000;
                let samples = [
                    (0, 1.0),
                    (base, 2.0),
                    (2 * base + dod, f64::NAN),
                    (3 * base + dod, 4.0),
                ];
                assert_eq!(decode(&encode(&samples)).unwrap(), bits(&samples));
            }
        }
        let far = [
            (i64::MIN / 2, 1.0),
            (0, 1.0),
            (1, 1.5),
            (i64::MAX / 2, -0.0),
        ];
        assert_eq!(decode(&encode(&far)).unwrap(), bits(&far));
    }

    #[test]
    fn values_keep_every_bit() {
        let raw = [
            0x7ff0_0000_0000_0002,
            0x7ff8_0000_0000_0001,
            0,
            1,
            u64::MAX,
            1 << 63,
            0x8000_0000_0000_0001,
        ];
        let samples: Vec<(i64, f64)> = (0..).zip(raw.iter().map(|b| f64::from_bits(*b))).collect();
        assert_eq!(decode(&encode(&samples)).unwrap(), bits(&samples));
    }

    #[test]
    fn a_range_takes_its_samples_only() {
        let samples: Vec<(i64, f64)> = (0..100).map(|i| (i * 10, i as f64)).collect();
        let (mut ts, mut vs) = (Vec::new(), Vec::new());
        decode_into(&encode(&samples), 95, 120, &mut ts, &mut vs).unwrap();
        assert_eq!(ts, [100, 110, 120]);
        assert_eq!(vs, [10.0, 11.0, 12.0]);
    }

    #[test]
    fn any_damage_is_samples_or_an_error() {
        let samples: Vec<(i64, f64)> = (0..60)
            .map(|i| (i * 15_000 + i % 7, (i * i) as f64 * 0.37))
            .collect();
        let good = encode(&samples);
        for cut in 0..good.len() {
            if let Ok(got) = decode(&good[..cut]) {
                panic!("cut at {cut} gave {} samples", got.len());
            }
        }
        let mut seed = 1u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut bad = good.clone();
            let at = (seed >> 33) as usize % bad.len();
            bad[at] ^= 1 << (seed >> 60 & 7);
            let _ = decode(&bad);
        }
    }

    #[test]
    fn marks_tell_beginnings_from_others() {
        let samples: Vec<(i64, f64)> = (0..90)
            .map(|i| (i * 15_000 + i % 5 / 4, (i * i / 3) as f64))
            .collect();
        let whole = encode(&samples);
        for n in 1..=samples.len() {
            let begins = encode(&samples[..n]);
            let mut other = samples[..n].to_vec();
            other[n - 1].1 += 0.5;
            let mut later = samples[..n].to_vec();
            later[n - 1].0 += 1;
            for maxt in [i64::MAX, 600_000] {
                let mut marks = [Mark::at(n)];
                let (mut ts, mut vs) = (Vec::new(), Vec::new());
                decode_marked(&whole, 0, maxt, &mut marks, &mut ts, &mut vs).unwrap();
                assert_eq!(ts.len(), samples.iter().filter(|s| s.0 <= maxt).count());
                assert!(marks[0].agrees(&whole, &begins), "{n} samples");
                let seen = n == 1 || samples[n - 2].0 <= maxt;
                let agrees = [&other, &later].map(|chunk| marks[0].agrees(&whole, &encode(chunk)));
                assert_eq!(agrees, [!seen; 2], "{n} samples");
            }
        }
    }

    #[test]
    fn ignores_a_trailing_zero_byte() {
        let samples = [(5, 1.0), (6, 2.0)];
        let mut chunk = encode(&samples);
        chunk.push(0);
        assert_eq!(decode(&chunk).unwrap(), bits(&samples));
    }
}
