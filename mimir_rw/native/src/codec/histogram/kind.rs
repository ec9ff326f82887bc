//! How the numbers of a sample are coded: integers as differences of differences (section 9.2), floats against the value
//! before (section 10).

use crate::codec::bits::{BitReader, BitSink};
use crate::codec::varbit;
use crate::codec::xor::{LEAD_UNSET, put_xor};
use crate::histogram::ResetHint;
use crate::windows::STALE_NAN_BITS;

/// The numbers of one sample; absolute counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers<K: Kind> {
    pub count: K::Count,
    pub zero_count: K::Count,
    /// Bits.
    pub sum: u64,
    /// Those of the positive side, then those of the negative one.
    pub buckets: Vec<K::Bucket>,
    pub positive: usize,
}

impl<K: Kind> Numbers<K> {
    pub fn is_stale(&self) -> bool {
        self.sum == STALE_NAN_BITS
    }

    pub fn sides(&self) -> (&[K::Bucket], &[K::Bucket]) {
        self.buckets.split_at(self.positive)
    }
}

/// Integer or float.
pub trait Kind: Clone + Default + std::fmt::Debug + PartialEq {
    type Count: Copy + Default + PartialOrd + std::fmt::Debug;
    type Bucket: Copy + Default + PartialOrd + std::fmt::Debug;
    /// Encoding id (section 5.1).
    const ENCODING: u8;
    /// Least bits of a bucket in the first sample.
    const BUCKET_BITS_MIN: u64;
    /// Memory of an open chunk for each bucket, beside the bucket.
    const BUCKET_STATE_BYTES: usize;
    /// Header of a chunk with a counter that follows a chunk of gauges.
    const AFTER_GAUGE: ResetHint;
    /// Header of a chunk that follows a full one where it is not known whether there was a reset.
    const UNKNOWN_AFTER_FULL: ResetHint;

    /// To be coded after a first sample with so many buckets.
    fn new(buckets: usize) -> Self;

    fn put_first(sink: &mut impl BitSink, numbers: &Numbers<Self>);
    fn read_first(bits: &mut BitReader<'_>, numbers: &mut Numbers<Self>);

    /// `numbers` go after `last`. A stale sample has no buckets.
    fn put_next(&mut self, sink: &mut impl BitSink, last: &Numbers<Self>, numbers: &Numbers<Self>);
    /// Turn the last sample's numbers into the next one's.
    fn read_next(&mut self, bits: &mut BitReader<'_>, numbers: &mut Numbers<Self>);
}

/// A window of significant bits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    lead: u8,
    trail: u8,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            lead: LEAD_UNSET,
            trail: 0,
        }
    }
}

impl Window {
    fn put(&mut self, sink: &mut impl BitSink, old: u64, new: u64) {
        put_xor(sink, old ^ new, &mut self.lead, &mut self.trail);
    }

    /// The next value. A stream that was not written by us may use a window that it never set: that of all bits.
    fn read(&mut self, bits: &mut BitReader<'_>, old: u64) -> u64 {
        let word = bits.peek();
        if word >> 63 == 0 {
            bits.consume(1);
            return old;
        }
        if word >> 62 == 0b11 {
            self.lead = (word >> 57 & 31) as u8;
            let wide = (word >> 51 & 63) as u8;
            let wide = if wide == 0 { 64 } else { wide };
            bits.consume(13);
            if self.lead + wide > 64 {
                bits.spoil();
                return old;
            }
            self.trail = 64 - wide - self.lead;
        } else {
            bits.consume(2);
        }
        let lead = if self.lead == LEAD_UNSET {
            0
        } else {
            self.lead
        };
        let n = 64 - u32::from(lead) - u32::from(self.trail);
        old ^ bits.take(n) << self.trail
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Integer {
    count_delta: i64,
    zero_delta: i64,
    sum: Window,
    /// Of each bucket, by how much its difference to the bucket before changed last.
    deltas: Vec<i64>,
}

impl Integer {
    /// Each bucket less the one before it on its side.
    fn differences(buckets: &[i64], positive: usize) -> impl Iterator<Item = i64> + '_ {
        (0..buckets.len()).map(move |at| match at == 0 || at == positive {
            true => buckets[at],
            false => buckets[at].wrapping_sub(buckets[at - 1]),
        })
    }
}

impl Kind for Integer {
    type Count = u64;
    type Bucket = i64;
    const ENCODING: u8 = 2;
    const BUCKET_BITS_MIN: u64 = 1;
    const BUCKET_STATE_BYTES: usize = size_of::<i64>();
    const AFTER_GAUGE: ResetHint = ResetHint::NotReset;
    const UNKNOWN_AFTER_FULL: ResetHint = ResetHint::Unknown;

    fn new(buckets: usize) -> Self {
        Integer {
            deltas: vec![0; buckets],
            ..Self::default()
        }
    }

    fn put_first(sink: &mut impl BitSink, numbers: &Numbers<Self>) {
        varbit::put_uint(sink, numbers.count);
        varbit::put_uint(sink, numbers.zero_count);
        sink.put(numbers.sum, 64);
        for difference in Self::differences(&numbers.buckets, numbers.positive) {
            varbit::put_int(sink, difference);
        }
    }

    fn read_first(bits: &mut BitReader<'_>, numbers: &mut Numbers<Self>) {
        numbers.count = varbit::uint(bits);
        numbers.zero_count = varbit::uint(bits);
        numbers.sum = bits.take(64);
        let mut bucket = 0i64;
        for (at, to) in numbers.buckets.iter_mut().enumerate() {
            bucket = match at == numbers.positive {
                true => 0,
                false => bucket,
            };
            bucket = bucket.wrapping_add(varbit::int(bits));
            *to = bucket;
        }
    }

    fn put_next(&mut self, sink: &mut impl BitSink, last: &Numbers<Self>, numbers: &Numbers<Self>) {
        let count_delta = numbers.count.wrapping_sub(last.count) as i64;
        let zero_delta = numbers.zero_count.wrapping_sub(last.zero_count) as i64;
        let (mut count_dod, mut zero_dod) = (
            count_delta.wrapping_sub(self.count_delta),
            zero_delta.wrapping_sub(self.zero_delta),
        );
        if numbers.is_stale() {
            (count_dod, zero_dod) = (0, 0);
        }
        varbit::put_int(sink, count_dod);
        varbit::put_int(sink, zero_dod);
        self.sum.put(sink, last.sum, numbers.sum);
        (self.count_delta, self.zero_delta) = (count_delta, zero_delta);
        let olds = Self::differences(&last.buckets, last.positive);
        let news = Self::differences(&numbers.buckets, numbers.positive);
        for ((old, new), before) in olds.zip(news).zip(&mut self.deltas) {
            let delta = new.wrapping_sub(old);
            varbit::put_int(sink, delta.wrapping_sub(*before));
            *before = delta;
        }
    }

    fn read_next(&mut self, bits: &mut BitReader<'_>, numbers: &mut Numbers<Self>) {
        self.count_delta = self.count_delta.wrapping_add(varbit::int(bits));
        self.zero_delta = self.zero_delta.wrapping_add(varbit::int(bits));
        numbers.count = numbers.count.wrapping_add(self.count_delta as u64);
        numbers.zero_count = numbers.zero_count.wrapping_add(self.zero_delta as u64);
        numbers.sum = self.sum.read(bits, numbers.sum);
        if numbers.is_stale() {
            return;
        }
        // By how much the bucket before changed, which the differences that follow add up.
        let mut change = 0i64;
        for (at, (to, delta)) in numbers.buckets.iter_mut().zip(&mut self.deltas).enumerate() {
            if at == numbers.positive {
                change = 0;
            }
            *delta = delta.wrapping_add(varbit::int(bits));
            change = change.wrapping_add(*delta);
            *to = to.wrapping_add(change);
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Float {
    count: Window,
    zero_count: Window,
    sum: Window,
    buckets: Vec<Window>,
}

impl Kind for Float {
    type Count = f64;
    type Bucket = f64;
    const ENCODING: u8 = 3;
    const BUCKET_BITS_MIN: u64 = 64;
    const BUCKET_STATE_BYTES: usize = size_of::<Window>();
    const AFTER_GAUGE: ResetHint = ResetHint::Unknown;
    const UNKNOWN_AFTER_FULL: ResetHint = ResetHint::NotReset;

    fn new(buckets: usize) -> Self {
        Float {
            buckets: vec![Window::default(); buckets],
            ..Self::default()
        }
    }

    fn put_first(sink: &mut impl BitSink, numbers: &Numbers<Self>) {
        sink.put(numbers.count.to_bits(), 64);
        sink.put(numbers.zero_count.to_bits(), 64);
        sink.put(numbers.sum, 64);
        for bucket in &numbers.buckets {
            sink.put(bucket.to_bits(), 64);
        }
    }

    fn read_first(bits: &mut BitReader<'_>, numbers: &mut Numbers<Self>) {
        numbers.count = f64::from_bits(bits.take(64));
        numbers.zero_count = f64::from_bits(bits.take(64));
        numbers.sum = bits.take(64);
        for to in &mut numbers.buckets {
            *to = f64::from_bits(bits.take(64));
        }
    }

    fn put_next(&mut self, sink: &mut impl BitSink, last: &Numbers<Self>, numbers: &Numbers<Self>) {
        let mut put = |window: &mut Window, old: f64, new: f64| {
            window.put(sink, old.to_bits(), new.to_bits());
        };
        put(&mut self.count, last.count, numbers.count);
        put(&mut self.zero_count, last.zero_count, numbers.zero_count);
        self.sum.put(sink, last.sum, numbers.sum);
        let pairs = last.buckets.iter().zip(&numbers.buckets);
        for ((old, new), window) in pairs.zip(&mut self.buckets) {
            window.put(sink, old.to_bits(), new.to_bits());
        }
    }

    fn read_next(&mut self, bits: &mut BitReader<'_>, numbers: &mut Numbers<Self>) {
        let mut read = |window: &mut Window, old: &mut f64| {
            *old = f64::from_bits(window.read(bits, old.to_bits()));
        };
        read(&mut self.count, &mut numbers.count);
        read(&mut self.zero_count, &mut numbers.zero_count);
        numbers.sum = self.sum.read(bits, numbers.sum);
        if numbers.is_stale() {
            return;
        }
        for (to, window) in numbers.buckets.iter_mut().zip(&mut self.buckets) {
            *to = f64::from_bits(window.read(bits, to.to_bits()));
        }
    }
}
