//! Chunks against the worked bytes of the format paper, and against what was appended.

use super::*;
use crate::codec::Damaged;
use crate::histogram::{Buckets, CUSTOM_BUCKETS, ResetHint, Span};
use crate::windows::STALE_NAN_BITS;
use looks::Looks;
use read::{Reader, decode_into};
use std::sync::Arc;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn spans(parts: &[(i32, u32)]) -> Vec<Span> {
    let span = |&(offset, length): &(i32, u32)| Span { offset, length };
    parts.iter().map(span).collect()
}

pub fn integer(
    count: u64,
    zero: u64,
    sum: f64,
    layout: &[(i32, u32)],
    deltas: &[i64],
) -> Histogram {
    Histogram::Integer(IntegerHistogram {
        zero_threshold: 2f64.powi(-128),
        zero_count: zero,
        count,
        sum,
        positive: DeltaBuckets {
            spans: spans(layout),
            deltas: deltas.to_vec(),
        },
        ..IntegerHistogram::default()
    })
}

pub fn float(h: &Histogram) -> Histogram {
    Histogram::Float(h.to_float())
}

pub fn with_hint(mut h: Histogram, hint: ResetHint) -> Histogram {
    match &mut h {
        Histogram::Integer(h) => h.hint = hint,
        Histogram::Float(h) => h.hint = hint,
    }
    h
}

pub fn stale() -> Histogram {
    Histogram::Integer(IntegerHistogram {
        sum: f64::from_bits(STALE_NAN_BITS),
        ..IntegerHistogram::default()
    })
}

fn decode(encoding: u8, chunk: &[u8]) -> Result<Vec<(i64, FloatHistogram)>, Damaged> {
    let (mut ts, mut histograms) = (Vec::new(), Vec::new());
    decode_into(
        encoding,
        chunk,
        i64::MIN,
        i64::MAX,
        &Looks::ALL,
        &mut ts,
        &mut histograms,
    )?;
    let histograms = histograms.iter().map(|h| (**h).clone());
    Ok(ts.into_iter().zip(histograms).collect())
}

const T: i64 = 1_600_000_000_000;

#[test]
fn integer_chunk_of_the_format_paper() {
    let want = hex("00 03 00 74 4a 48 c5 fc 00 02 e9 0e dd 00 01 58 a0 12 80 00 00 00 00 00 46 37 f8 3a 98 9c 75 8d
        1a 21 28 00");
    let layout = [(0, 2), (1, 1)];
    let samples = [
        (T, integer(5, 1, 10.5, &layout, &[1, 1, -1])),
        (T + 15_000, integer(8, 2, 20.5, &layout, &[1, 2, -1])),
        (T + 30_000, integer(11, 3, 30.5, &layout, &[1, 3, -1])),
    ];
    let chunks = chunks_of(samples.iter().map(|(t, h)| (*t, h)));
    assert_eq!(chunks, [(2, T, T + 30_000, want.clone())]);
    let got = decode(2, &want).unwrap();
    for (at, ((t, h), (got_t, got))) in samples.iter().zip(&got).enumerate() {
        let mut want = h.to_float();
        want.hint = if at == 0 {
            ResetHint::Unknown
        } else {
            ResetHint::NotReset
        };
        assert_eq!((got_t, got), (t, &want));
    }
}

#[test]
fn custom_buckets_of_the_format_paper() {
    let want = hex("00 01 00 00 ee 5c 66 4b be be 3e 9f 1f 45 88 03 c0 00 00 00 00 00 11 8c 40");
    let h = Histogram::Integer(IntegerHistogram {
        schema: CUSTOM_BUCKETS,
        count: 6,
        sum: 7.5,
        positive: DeltaBuckets {
            spans: spans(&[(0, 3)]),
            deltas: vec![1, 1, 1],
        },
        custom: Arc::new([0.5, 1.0]),
        ..IntegerHistogram::default()
    });
    assert_eq!(OpenChunk::start(1000, &h, None).to_bytes(), want);
    assert_eq!(decode(2, &want).unwrap(), [(1000, h.to_float())]);
}

#[test]
fn float_gauge_chunk_of_the_format_paper() {
    let want = hex("00 02 c0 00 46 27 8f a1 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 20 00 00 00 00 00 01
        00 00 00 00 00 00 00 03 c7 d1 ac 1b 58 3d 60 c0");
    let h = |count: f64, sum: f64| {
        Histogram::Float(FloatHistogram {
            hint: ResetHint::Gauge,
            count,
            sum,
            positive: Buckets {
                spans: spans(&[(0, 1)]),
                counts: vec![count],
            },
            ..FloatHistogram::default()
        })
    };
    let samples = [(1000, h(2.0, 3.0)), (2000, h(4.0, 6.0))];
    let chunks = chunks_of(samples.iter().map(|(t, h)| (*t, h)));
    assert_eq!(chunks, [(3, 1000, 2000, want.clone())]);
    let want: Vec<_> = samples.iter().map(|(t, h)| (*t, h.to_float())).collect();
    assert_eq!(decode(3, &chunks[0].3).unwrap(), want);
}

/// Headers of the chunks that the samples make.
fn headers(samples: &[Histogram]) -> Vec<u8> {
    let chunks = chunks_of((0..).zip(samples));
    chunks.iter().map(|chunk| chunk.3[2] >> 6).collect()
}

#[test]
fn a_new_chunk_begins_where_the_rules_say() {
    let h = |count, zero, deltas: &[i64]| integer(count, zero, 1.0, &[(0, 2)], deltas);
    let first = h(5, 1, &[2, 0]);
    let other_schema = match first.clone() {
        Histogram::Integer(h) => Histogram::Integer(IntegerHistogram { schema: 1, ..h }),
        float => float,
    };
    let gauge = with_hint(first.clone(), ResetHint::Gauge);
    // Integer and float chunks differ in the one case that is given twice.
    let cases: [(Histogram, &[u8], &[u8]); 10] = [
        (h(6, 1, &[2, 1]), &[0], &[0]),
        (h(4, 1, &[2, -1]), &[0, 2], &[0, 2]),
        (h(6, 0, &[2, 2]), &[0, 2], &[0, 2]),
        (h(7, 3, &[1, 2]), &[0, 2], &[0, 2]),
        (integer(9, 1, 1.0, &[(0, 1)], &[8]), &[0, 2], &[0, 2]),
        (integer(9, 1, 1.0, &[(0, 3)], &[3, 0, -1]), &[0], &[0]),
        (other_schema, &[0, 0], &[0, 0]),
        (
            with_hint(h(6, 1, &[2, 1]), ResetHint::Reset),
            &[0, 2],
            &[0, 2],
        ),
        (gauge.clone(), &[0, 3], &[0, 3]),
        (stale(), &[0], &[0]),
    ];
    for (second, integers, floats) in cases {
        let both = [first.clone(), second.clone()];
        assert_eq!(headers(&both), integers, "{second:?}");
        assert_eq!(
            headers(&[float(&both[0]), float(&both[1])]),
            floats,
            "float {second:?}"
        );
    }
    assert_eq!(headers(&[gauge.clone(), first.clone()]), [3, 1]);
    assert_eq!(headers(&[float(&gauge), float(&first)]), [3, 0]);
    assert_eq!(
        headers(&[first.clone(), stale(), stale(), first.clone()]),
        [0, 0]
    );
    assert_eq!(headers(&[first.clone(), float(&first)]), [0, 0]);
    assert_eq!(headers(&[with_hint(first.clone(), ResetHint::Reset)]), [2]);
}

#[test]
fn a_chunk_that_follows_a_full_one_says_what_is_known() {
    let h = |count| integer(count, 1, 1.0, &[(0, 2)], &[2, 0]);
    let other = integer(9, 1, 1.0, &[(0, 1)], &[8]);
    let header = |before: &Histogram, next: &Histogram| {
        let before = OpenChunk::start(1, before, None);
        OpenChunk::start(2, next, Some(&before)).to_bytes()[2] >> 6
    };
    assert_eq!(header(&h(5), &h(6)), 1);
    assert_eq!(header(&h(5), &h(4)), 2);
    assert_eq!(header(&h(5), &other), 2);
    assert_eq!(header(&stale(), &h(4)), 0);
    assert_eq!(header(&float(&stale()), &float(&h(4))), 1);
    assert_eq!(header(&float(&h(5)), &h(6)), 0);
}

/// A small generator: numbers below `n`.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }

    fn layout(&mut self) -> Vec<(i32, u32)> {
        let spans = self.below(4);
        let span = |at| {
            let offset = if at == 0 {
                self.below(8) as i32 - 4
            } else {
                self.below(4) as i32
            };
            (offset, self.below(4) as u32)
        };
        (0..spans).map(span).collect()
    }

    pub fn histogram(&mut self) -> Histogram {
        let (layout, negative) = (self.layout(), self.layout());
        let mut side = |layout: &[(i32, u32)]| {
            let buckets: u32 = layout.iter().map(|span| span.1).sum();
            let mut last = 0;
            let delta = |_| {
                let count = self.below(30) as i64;
                count - std::mem::replace(&mut last, count)
            };
            DeltaBuckets {
                deltas: (0..buckets).map(delta).collect(),
                spans: spans(layout),
            }
        };
        let (positive, negative) = (side(&layout), side(&negative));
        let h = Histogram::Integer(IntegerHistogram {
            hint: ResetHint::from_number(self.below(4)).unwrap(),
            schema: self.below(3) as i32,
            zero_threshold: [0.0, 0.001][self.below(2) as usize],
            zero_count: self.below(9),
            count: self.below(10_000),
            sum: self.below(1000) as f64 * 0.1,
            positive,
            negative,
            custom: Arc::new([]),
        });
        if self.below(12) == 0 { stale() } else { h }
    }

    /// What a counter is likely to be next: a bit more here and there, a new bucket now and then.
    fn grown(&mut self, h: &Histogram) -> Histogram {
        let Histogram::Integer(h) = h else {
            return self.histogram();
        };
        let mut h = h.clone();
        h.hint = ResetHint::Unknown;
        h.count += self.below(20);
        h.zero_count += self.below(2);
        h.sum += 1.25;
        for side in [&mut h.positive, &mut h.negative] {
            let at = self.below(side.deltas.len() as u64 + 1) as usize;
            let more = self.below(5) as i64;
            if let Some(delta) = side.deltas.get_mut(at) {
                *delta += more;
            }
            if let (1, Some(span)) = (self.below(3), side.spans.last_mut()) {
                span.length += 1;
                side.deltas.push(0);
            }
        }
        Histogram::Integer(h)
    }

    pub fn series(&mut self, n: usize) -> Vec<Histogram> {
        let mut series: Vec<Histogram> = vec![self.histogram()];
        while series.len() < n {
            let last = &series[series.len() - 1];
            let next = match self.below(10) {
                0..3 => self.histogram(),
                _ if last.is_stale() => self.histogram(),
                _ => self.grown(&last.clone()),
            };
            series.push(next);
        }
        series
    }
}

/// Buckets that hold something, by index.
fn used(side: &Buckets) -> Vec<(i64, u64)> {
    let all = spans::indices(&side.spans).zip(&side.counts);
    all.filter(|(_, count)| **count != 0.0)
        .map(|(at, count)| (at, count.to_bits()))
        .collect()
}

fn assert_same(got: &FloatHistogram, want: &FloatHistogram) {
    if want.is_stale() {
        assert!(got.is_stale());
        return;
    }
    let numbers = |h: &FloatHistogram| {
        let scalars = [h.zero_threshold, h.zero_count, h.count, h.sum].map(f64::to_bits);
        (
            h.schema,
            scalars,
            used(&h.positive),
            used(&h.negative),
            h.custom.to_vec(),
        )
    };
    assert_eq!(numbers(got), numbers(want));
}

#[test]
fn any_histograms_come_back() {
    let mut dice = Dice(42);
    for round in 0..300 {
        let mut series = dice.series(40);
        if round % 2 == 1 {
            series = series.iter().map(float).collect();
        }
        let chunks = chunks_of((0..).map(|i| i * 15_000 + i % 3).zip(&series));
        let mut got = Vec::new();
        for (encoding, mint, maxt, bytes) in &chunks {
            let decoded = decode(*encoding, bytes).unwrap();
            assert_eq!((decoded[0].0, decoded.last().unwrap().0), (*mint, *maxt));
            assert_eq!(read::extent(*encoding, bytes).unwrap().0, decoded.len());
            got.extend(decoded);
        }
        assert_eq!(got.len(), series.len());
        for ((i, want), (t, got)) in (0..).zip(&series).zip(&got) {
            assert_eq!(*t, i * 15_000 + i % 3);
            assert_same(got, &want.to_float());
        }
    }
}

/// A chunk decoded, and encoded sample by sample.
pub fn encoded_again<K: Kind>(bytes: &[u8]) -> Vec<u8> {
    let mut reader = Reader::<K>::new(bytes).unwrap();
    let mut chunk: Option<Chunk<K>> = None;
    while reader.next().unwrap() {
        match &mut chunk {
            None => {
                let mut first = reader.sample();
                first.hint = reader.header();
                chunk = Some(Chunk::start(reader.t(), first, None));
            }
            Some(chunk) => {
                let mut next = reader.sample();
                if reader.header() == ResetHint::Gauge {
                    // A stale marker does not say what it ends.
                    next.hint = ResetHint::Gauge;
                }
                assert!(chunk.append(reader.t(), next).is_none());
            }
        }
    }
    let mut again = chunk.unwrap().to_bytes();
    // A first sample cannot say that there was no reset.
    again[2] = bytes[2];
    again
}

#[test]
fn what_is_decoded_encodes_to_the_same_bytes() {
    let mut dice = Dice(7);
    for round in 0..100 {
        let mut series = dice.series(30);
        if round % 2 == 1 {
            series = series.iter().map(float).collect();
        }
        for (encoding, _, _, bytes) in chunks_of((0..).zip(&series)) {
            let got = match encoding {
                2 => encoded_again::<Integer>(&bytes),
                _ => encoded_again::<Float>(&bytes),
            };
            assert_eq!(got, bytes);
        }
    }
}

#[test]
fn a_range_takes_its_samples_only() {
    let h = |count| integer(count, 1, 1.0, &[(0, 2)], &[2, 0]);
    let series: Vec<Histogram> = (5..60).map(h).collect();
    let chunks = chunks_of((0..).map(|i| i * 10).zip(&series));
    let (mut ts, mut histograms) = (Vec::new(), Vec::new());
    decode_into(
        2,
        &chunks[0].3,
        95,
        120,
        &Looks::ALL,
        &mut ts,
        &mut histograms,
    )
    .unwrap();
    assert_eq!(ts, [100, 110, 120]);
    assert_eq!(histograms[0].count, 15.0);
}

#[test]
fn any_damage_is_samples_or_an_error() {
    let mut dice = Dice(3);
    let mut series = vec![integer(1, 0, 1.0, &[(0, 3), (2, 2)], &[1, 0, 2, -1, 0])];
    while series.len() < 30 {
        series.push(dice.grown(&series[series.len() - 1].clone()));
    }
    let floats: Vec<Histogram> = series.iter().map(float).collect();
    for series in [series, floats] {
        let (encoding, _, _, good) = chunks_of((0..).zip(&series)).swap_remove(0);
        for cut in 0..good.len() {
            assert!(decode(encoding, &good[..cut]).is_err(), "cut at {cut}");
        }
        for _ in 0..20_000 {
            let mut bad = good.clone();
            let at = dice.below(bad.len() as u64) as usize;
            bad[at] ^= 1 << dice.below(8);
            let _ = decode(encoding, &bad);
            let _ = read::extent(encoding, &bad);
        }
    }
}
