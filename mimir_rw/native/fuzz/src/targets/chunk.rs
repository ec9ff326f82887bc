//! XOR chunks: any bytes give ascending samples or an error, never more than the chunk's count; what was accepted
//! encodes to a chunk that decodes to the same.

use _native::codec::bits::BitVec;
use _native::codec::xor::{XorState, decode_into, sample_count};

type Samples = (Vec<i64>, Vec<f64>);

fn decode(chunk: &[u8], mint: i64, maxt: i64) -> Option<Samples> {
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    decode_into(chunk, mint, maxt, &mut ts, &mut values).ok()?;
    Some((ts, values))
}

fn encode(ts: &[i64], values: &[f64]) -> Vec<u8> {
    let mut state = XorState::default();
    let mut stream = BitVec::default();
    for (t, v) in ts.iter().zip(values) {
        state.append(&mut stream, *t, v.to_bits());
    }
    let mut chunk = state.count.to_be_bytes().to_vec();
    chunk.extend_from_slice(&stream.bytes);
    chunk
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

pub fn target(data: &[u8]) {
    let Some((ts, values)) = decode(data, i64::MIN, i64::MAX) else {
        return;
    };
    assert!(ts.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(sample_count(data), Ok(ts.len()));
    let again = decode(&encode(&ts, &values), i64::MIN, i64::MAX).expect("our own chunk decodes");
    assert_eq!((&again.0, bits(&again.1)), (&ts, bits(&values)));
    if let [first, .., last] = ts[..] {
        let inner = decode(data, first.saturating_add(1), last - 1).expect("a part decodes");
        assert_eq!(inner.0, ts[1..ts.len() - 1]);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let counter: Vec<f64> = (0..60).map(|i| f64::from(i * i)).collect();
    let gauge: Vec<f64> = (0..60).map(|i| f64::from(i % 7) * 0.37 - 1.0).collect();
    let regular: Vec<i64> = (0..60).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let ragged: Vec<i64> = (0..60).map(|i| i * i * i * 1_000 + i % 3).collect();
    vec![
        encode(&regular, &counter),
        encode(&ragged, &gauge),
        encode(&[i64::MIN / 2, 0, i64::MAX / 2], &[f64::NAN, 0.0, -0.0]),
        encode(&[5], &[1.0]),
        vec![0, 0],
    ]
}
