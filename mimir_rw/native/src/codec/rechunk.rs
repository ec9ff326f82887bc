//! Chunks of one series as other chunks: a part of one, or several that overlap as some that do not.

use super::Damaged;
use super::histogram::chunk::{Chunk, Sample};
use super::histogram::kind::{Float, Integer, Kind};
use super::histogram::read::Reader;
use super::xor;

/// Encoding of float chunks (tsdb-block.md section 5.1).
const XOR: u8 = 1;
/// As Prometheus' compaction does.
const SAMPLES_MAX: usize = 120;

#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    pub encoding: u8,
    pub mint: i64,
    pub maxt: i64,
    /// Begins with the sample count.
    pub data: Vec<u8>,
}

enum Value {
    Float(u64),
    Integer(Sample<Integer>),
    FloatHistogram(Sample<Float>),
}

/// The samples with mint <= t <= maxt, in ascending chunks. At equal times a histogram stands before a float, then the
/// earlier chunk. What a histogram knew of resets is found anew, but that it is a gauge.
pub fn rechunk<'a>(
    chunks: impl Iterator<Item = (u8, &'a [u8])>,
    mint: i64,
    maxt: i64,
) -> Result<Vec<Encoded>, Damaged> {
    let (mut samples, mut floats) = (Vec::new(), Vec::new());
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    for (encoding, chunk) in chunks {
        match encoding {
            XOR => {
                ts.clear();
                values.clear();
                xor::decode_into(chunk, mint, maxt, &mut ts, &mut values)?;
                let decoded = ts.iter().zip(&values);
                floats.extend(decoded.map(|(t, v)| (*t, Value::Float(v.to_bits()))));
            }
            Integer::ENCODING => read(chunk, mint, maxt, Value::Integer, &mut samples)?,
            Float::ENCODING => read(chunk, mint, maxt, Value::FloatHistogram, &mut samples)?,
            _ => return Err(Damaged("a chunk of an unknown encoding")),
        }
    }
    samples.append(&mut floats);
    // Stable: what stands at equal times is what was put first.
    samples.sort_by_key(|sample| sample.0);
    samples.dedup_by_key(|sample| sample.0);
    Ok(encode(samples))
}

fn read<K: Kind>(
    chunk: &[u8],
    mint: i64,
    maxt: i64,
    value: impl Fn(Sample<K>) -> Value,
    samples: &mut Vec<(i64, Value)>,
) -> Result<(), Damaged> {
    let mut reader = Reader::<K>::new(chunk)?;
    while reader.next()? && reader.t() <= maxt {
        if reader.t() >= mint {
            samples.push((reader.t(), value(reader.sample())));
        }
    }
    Ok(())
}

enum Open {
    Floats(Vec<(i64, u64)>),
    Integers(i64, Chunk<Integer>),
    FloatHistograms(i64, Chunk<Float>),
}

fn encode(samples: Vec<(i64, Value)>) -> Vec<Encoded> {
    let mut done = Vec::new();
    let mut open: Option<Open> = None;
    for (t, value) in samples {
        let next = match (&mut open, value) {
            (Some(Open::Floats(floats)), Value::Float(v)) if floats.len() < SAMPLES_MAX => {
                floats.push((t, v));
                None
            }
            (Some(Open::Integers(_, chunk)), Value::Integer(sample)) => {
                add(chunk, t, sample).map(|chunk| Open::Integers(t, chunk))
            }
            (Some(Open::FloatHistograms(_, chunk)), Value::FloatHistogram(sample)) => {
                add(chunk, t, sample).map(|chunk| Open::FloatHistograms(t, chunk))
            }
            (_, Value::Float(v)) => Some(Open::Floats(vec![(t, v)])),
            (_, Value::Integer(sample)) => Some(Open::Integers(t, Chunk::start(t, sample, None))),
            (_, Value::FloatHistogram(sample)) => {
                Some(Open::FloatHistograms(t, Chunk::start(t, sample, None)))
            }
        };
        if let Some(next) = next {
            done.extend(open.replace(next).map(close));
        }
    }
    done.extend(open.map(close));
    done
}

fn add<K: Kind>(chunk: &mut Chunk<K>, t: i64, sample: Sample<K>) -> Option<Chunk<K>> {
    match usize::from(chunk.count()) < SAMPLES_MAX {
        true => chunk.append(t, sample),
        false => Some(Chunk::start(t, sample, Some(chunk))),
    }
}

fn close(open: Open) -> Encoded {
    let (encoding, mint, maxt, data) = match open {
        Open::Floats(floats) => {
            let end = |sample: Option<&(i64, u64)>| sample.map_or(0, |s| s.0);
            let (mint, maxt) = (end(floats.first()), end(floats.last()));
            (XOR, mint, maxt, xor::chunk_of(&floats))
        }
        Open::Integers(mint, chunk) => (Integer::ENCODING, mint, chunk.t(), chunk.to_bytes()),
        Open::FloatHistograms(mint, chunk) => (Float::ENCODING, mint, chunk.t(), chunk.to_bytes()),
    };
    Encoded {
        encoding,
        mint,
        maxt,
        data,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::histogram::looks::Looks;
    use super::super::histogram::read::decode_into;
    use super::super::histogram::tests::Dice;
    use super::super::histogram::{chunks_of, encoding_of};
    use super::*;
    use crate::head::identity;
    use crate::histogram::FloatHistogram;

    type Sampled = Vec<(i64, bool, u64)>;

    /// Time, whether it is a histogram, bits or identity.
    fn samples(chunks: &[Encoded]) -> Sampled {
        let mut all = Vec::new();
        for chunk in chunks {
            let (mut ts, mut values) = (Vec::new(), Vec::new());
            let mut histograms: Vec<Arc<FloatHistogram>> = Vec::new();
            let (min, max) = (i64::MIN, i64::MAX);
            if chunk.encoding == XOR {
                xor::decode_into(&chunk.data, min, max, &mut ts, &mut values).unwrap();
                all.extend(
                    ts.iter()
                        .zip(&values)
                        .map(|(t, v)| (*t, false, v.to_bits())),
                );
            } else {
                let data = &chunk.data;
                decode_into(
                    chunk.encoding,
                    data,
                    min,
                    max,
                    &Looks::ALL,
                    &mut ts,
                    &mut histograms,
                )
                .unwrap();
                let id = |h: &Arc<FloatHistogram>| identity::of(chunk.encoding == 2, h);
                all.extend(ts.iter().zip(&histograms).map(|(t, h)| (*t, true, id(h))));
            }
            assert_eq!((ts[0], *ts.last().unwrap()), (chunk.mint, chunk.maxt));
            assert!(ts.len() <= SAMPLES_MAX);
        }
        assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
        all
    }

    #[test]
    fn chunks_that_overlap_are_their_samples_once() {
        for seed in 1..40 {
            let mut dice = Dice(seed);
            let mut chunks: Vec<(u8, Vec<u8>)> = Vec::new();
            let mut want = std::collections::BTreeMap::new();
            for _ in 0..1 + dice.below(5) {
                let start = dice.below(300) as i64;
                let times = (0..1 + dice.below(200) as i64).map(|i| start + i * 3);
                if dice.below(2) == 0 {
                    let floats: Vec<(i64, u64)> = times
                        .map(|t| (t, (dice.below(9) as f64).to_bits()))
                        .collect();
                    chunks.push((XOR, xor::chunk_of(&floats)));
                    for (t, v) in floats {
                        want.entry(t).or_insert((t, false, v));
                    }
                    continue;
                }
                let histograms = dice.series(20);
                let rows = times.zip(&histograms).collect::<Vec<_>>();
                let made = chunks_of(rows.iter().map(|(t, h)| (*t, *h)));
                chunks.extend(
                    made.into_iter()
                        .map(|(encoding, _, _, data)| (encoding, data)),
                );
                for (t, h) in rows {
                    let one = (t, true, identity::of(encoding_of(h) == 2, &h.to_float()));
                    let known = want.entry(t).or_insert(one);
                    if !known.1 {
                        *known = one;
                    }
                }
            }
            let (mint, maxt) = (dice.below(200) as i64, 200 + dice.below(600) as i64);
            let parts = || {
                chunks
                    .iter()
                    .map(|(encoding, data)| (*encoding, data.as_slice()))
            };
            let all = rechunk(parts(), i64::MIN, i64::MAX).unwrap();
            let all_wanted: Sampled = want.values().copied().collect();
            assert_eq!(samples(&all), all_wanted, "seed {seed}");
            let part = rechunk(parts(), mint, maxt).unwrap();
            let wanted: Sampled = want.range(mint..=maxt).map(|(_, s)| *s).collect();
            assert_eq!(samples(&part), wanted, "seed {seed}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let chunk = xor::chunk_of(&[(1, 2), (3, 4), (5, 6)]);
        for bad in [(XOR, &chunk[..5]), (9, &chunk[..]), (2, &chunk[..2])] {
            assert!(rechunk([bad].into_iter(), i64::MIN, i64::MAX).is_err());
        }
    }
}
