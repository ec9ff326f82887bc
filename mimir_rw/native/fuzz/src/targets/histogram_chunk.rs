//! Histogram chunks: any bytes give ascending samples or an error, never more than the chunk's count; what was accepted
//! encodes to chunks that decode to the same. The first byte of an input says which encoding.

use std::sync::Arc;

use _native::codec::histogram::chunks_of;
use _native::codec::histogram::looks::Looks;
use _native::codec::histogram::read::{decode_into, extent};
use _native::codec::histogram::spans::indices;
use _native::histogram::{Buckets, FloatHistogram, Histogram, ResetHint, Span};

type Samples = (Vec<i64>, Vec<Arc<FloatHistogram>>);

fn decode(encoding: u8, chunk: &[u8], mint: i64, maxt: i64) -> Option<Samples> {
    let (mut ts, mut histograms) = (Vec::new(), Vec::new());
    decode_into(
        encoding,
        chunk,
        mint,
        maxt,
        &Looks::ALL,
        &mut ts,
        &mut histograms,
    )
    .ok()?;
    Some((ts, histograms))
}

/// What must survive: hints may not, and empty buckets come and go.
fn numbers(h: &FloatHistogram) -> Vec<u64> {
    if h.is_stale() {
        return vec![h.sum.to_bits()];
    }
    let side = |side: &Buckets| {
        let used = indices(&side.spans).zip(side.counts.clone());
        let used = used.filter(|(_, count)| *count != 0.0);
        used.flat_map(|(at, count)| [at as u64, count.to_bits()])
            .collect::<Vec<u64>>()
    };
    let mut all = vec![h.schema as u64];
    // A threshold or bound of -0 is stored as 0.
    all.push((h.zero_threshold + 0.0).to_bits());
    all.extend([h.zero_count, h.count, h.sum].map(f64::to_bits));
    all.extend(side(&h.positive));
    all.push(u64::MAX);
    all.extend(side(&h.negative));
    all.extend(h.custom.iter().map(|bound| (bound + 0.0).to_bits()));
    all
}

pub fn target(data: &[u8]) {
    let Some((&which, chunk)) = data.split_first() else {
        return;
    };
    let encoding = 2 + which % 2;
    let Some((ts, histograms)) = decode(encoding, chunk, i64::MIN, i64::MAX) else {
        return;
    };
    assert!(ts.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(extent(encoding, chunk).map(|e| e.0), Ok(ts.len()));
    let stored: Vec<Histogram> = histograms
        .iter()
        .map(|h| Histogram::Float((**h).clone()))
        .collect();
    let mut again = (Vec::new(), Vec::new());
    for (encoding, _, _, chunk) in chunks_of(ts.iter().copied().zip(&stored)) {
        let part = decode(encoding, &chunk, i64::MIN, i64::MAX).expect("our own chunk decodes");
        again.0.extend(part.0);
        again.1.extend(part.1);
    }
    assert_eq!(again.0, ts);
    for (got, want) in again.1.iter().zip(&histograms) {
        assert_eq!(numbers(got), numbers(want));
    }
    if let [first, .., last] = ts[..] {
        let inner = decode(encoding, chunk, first.saturating_add(1), last - 1);
        assert_eq!(inner.expect("a part decodes").0, ts[1..ts.len() - 1]);
    }
}

fn histogram(at: i32) -> Histogram {
    let side = |length: i32| Buckets {
        spans: vec![
            Span {
                offset: at % 3 - 1,
                length: 2,
            },
            Span {
                offset: 3,
                length: length as u32,
            },
        ],
        counts: (0..2 + length).map(|i| f64::from(i * at)).collect(),
    };
    Histogram::Float(FloatHistogram {
        hint: if at > 40 {
            ResetHint::Gauge
        } else {
            ResetHint::Unknown
        },
        schema: 3,
        zero_threshold: 1e-3,
        zero_count: f64::from(at),
        count: f64::from(at * 20),
        sum: f64::from(at) * 1.5,
        positive: side(1 + at / 10),
        negative: side(0),
        custom: Arc::new([]),
    })
}

pub fn seeds() -> Vec<Vec<u8>> {
    let series: Vec<Histogram> = (0..60).map(histogram).collect();
    let chunks = chunks_of((0..).map(|i| 1_700_000_000_000 + i * 15_000).zip(&series));
    let with_encoding = |encoding: u8, chunk: Vec<u8>| [vec![encoding - 2], chunk].concat();
    let mut seeds: Vec<Vec<u8>> = chunks
        .into_iter()
        .map(|(encoding, _, _, chunk)| with_encoding(encoding, chunk))
        .collect();
    // The integer chunks of the format paper: exponential and custom buckets.
    seeds.push(with_encoding(
        2,
        vec![
            0x00, 0x03, 0x00, 0x74, 0x4a, 0x48, 0xc5, 0xfc, 0x00, 0x02, 0xe9, 0x0e, 0xdd, 0x00,
            0x01, 0x58, 0xa0, 0x12, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x46, 0x37, 0xf8, 0x3a,
            0x98, 0x9c, 0x75, 0x8d, 0x1a, 0x21, 0x28, 0x00,
        ],
    ));
    seeds.push(with_encoding(
        2,
        vec![
            0x00, 0x01, 0x00, 0x00, 0xee, 0x5c, 0x66, 0x4b, 0xbe, 0xbe, 0x3e, 0x9f, 0x1f, 0x45,
            0x88, 0x03, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x8c, 0x40,
        ],
    ));
    seeds
}
