use std::sync::Arc;

use super::batch_codec::{decode, encode};
use super::proto::Malformed;
use super::series::{SeriesHasher, TokenHasher, write_label};
use crate::batch::{Exemplar, HistogramSample, Metadata, WriteBatch};
use crate::histogram::stored::DeltaBuckets;
use crate::histogram::{CUSTOM_BUCKETS, Histogram, IntegerHistogram, ResetHint, Span};

const KEY: [u8; 32] = [3; 32];

fn batch(rows: usize, samples: impl Fn(usize) -> Vec<(i64, f64)>) -> WriteBatch {
    let hasher = SeriesHasher::new(&KEY);
    let mut buf = Vec::new();
    let mut batch = WriteBatch {
        key_tag: hasher.tag(),
        ..WriteBatch::default()
    };
    for row in 0..rows {
        let start = buf.len();
        write_label(&mut buf, b"__name__", b"up");
        write_label(&mut buf, b"pod", format!("p{row}").as_bytes());
        let labels = &buf[start..];
        let text = [("__name__", "up".to_owned()), ("pod", format!("p{row}"))];
        let bytes = text.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        batch.token.push(TokenHasher::new("t").token(bytes));
        batch.hash.push(hasher.hash(labels));
        batch.label_range.push((start as u32, labels.len() as u32));
        for (t, v) in samples(row) {
            batch.ts.push(t);
            batch.values.push(v);
        }
        batch.sample_end.push(batch.ts.len() as u32);
    }
    batch.buf = Arc::new(buf);
    batch
}

fn uneven(rows: usize) -> WriteBatch {
    let mut batch = batch(rows, |row| {
        let times = (0..row % 4).map(|i| i as i64 * 15_000 - (row as i64 % 3) * i64::MAX / 2);
        times.map(|t| (t, row as f64 / 3.0)).collect()
    });
    batch.metadata.push(Metadata {
        kind: 1,
        name: "up".into(),
        help: "Hélp".into(),
        unit: String::new(),
    });
    batch
}

/// Of several shapes; valid.
fn histogram(n: usize) -> Histogram {
    let side = |offset| DeltaBuckets {
        spans: vec![
            Span { offset, length: 2 },
            Span {
                offset: 3,
                length: 1,
            },
        ],
        deltas: vec![n as i64, 1, -1],
    };
    let total = 3 * n as u64 + 1;
    let exponential = IntegerHistogram {
        hint: ResetHint::from_number(n as u64 % 4).unwrap(),
        schema: n as i32 % 5 - 2,
        zero_threshold: 1e-128,
        zero_count: 7,
        count: 2 * total + 7,
        sum: -1.5,
        positive: side(-5),
        negative: side(2),
        ..IntegerHistogram::default()
    };
    match n % 4 {
        0 => Histogram::Integer(exponential),
        1 => Histogram::Float(exponential.to_float()),
        2 => Histogram::Integer(IntegerHistogram {
            schema: CUSTOM_BUCKETS,
            count: total,
            positive: side(1),
            custom: (0..8).map(f64::from).collect(),
            ..IntegerHistogram::default()
        }),
        _ => Histogram::Integer(IntegerHistogram::default()),
    }
}

/// With start times, histograms and exemplars.
fn extended(rows: usize) -> WriteBatch {
    let mut batch = uneven(rows);
    let start = |(i, ts): (usize, &i64)| {
        if i % 3 == 0 {
            0
        } else {
            ts.wrapping_sub(i as i64)
        }
    };
    batch.start_ts = batch.ts.iter().enumerate().map(start).collect();
    for row in 0..rows {
        for n in 0..row % 3 {
            let ts = 1_600_000_000_000 + (row * 7 + n) as i64;
            batch.histograms.push(HistogramSample {
                ts,
                start_ts: if n == 0 { 0 } else { ts - 60_000 },
                histogram: Arc::new(histogram(row + n)),
            });
        }
        batch.histogram_end.push(batch.histograms.len() as u32);
        if row % 4 == 1 {
            let mut labels = Vec::new();
            if row % 8 == 1 {
                write_label(&mut labels, b"trace_id", b"abc");
            }
            batch.exemplars.push(Arc::new(Exemplar {
                ts: -5,
                value: f64::NAN,
                labels,
            }));
        }
        batch.exemplar_end.push(batch.exemplars.len() as u32);
    }
    batch
}

fn decoded(data: &[u8]) -> Result<WriteBatch, Malformed> {
    decode(data, "t", &SeriesHasher::new(&KEY))
}

fn same_row(got: &WriteBatch, at: usize, want: &WriteBatch, row: usize, labelled: bool) {
    assert_eq!(got.hash[at], want.hash[row]);
    assert_eq!(
        got.labels(at),
        if labelled { want.labels(row) } else { &[] }
    );
    assert_eq!(got.token[at], if labelled { want.token[row] } else { 0 });
    assert_eq!(got.ts[got.samples(at)], want.ts[want.samples(row)]);
    let bits = |batch: &WriteBatch, row| {
        let values = batch.values[batch.samples(row)].iter();
        values.map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(bits(got, at), bits(want, row));
    let rest = |batch: &WriteBatch, row| {
        let starts = batch.start_ts.get(batch.samples(row)).unwrap_or(&[]);
        format!(
            "{starts:?} {:?} {:?}",
            batch.histograms_of(row),
            batch.exemplars_of(row)
        )
    };
    assert_eq!(rest(got, at), rest(want, row));
}

#[test]
fn only_what_an_older_peer_understands_is_of_the_first_version() {
    let (plain, extended) = (uneven(9), extended(9));
    let version = |batch: &WriteBatch, rows: &[u32]| encode(batch, rows, None, false)[0];
    assert_eq!(version(&plain, &[0, 1, 2]), 1);
    assert_eq!(version(&extended, &[0, 1, 2]), 2);
    assert_eq!(version(&extended, &[0]), 1);
}

#[test]
fn taken_and_joined_batches_keep_everything_of_a_row() {
    let (plain, extended) = (uneven(5), extended(9));
    let rows = [8u32, 1, 3, 3];
    let taken = extended.take(&rows, false);
    for (at, &row) in rows.iter().enumerate() {
        same_row(&taken, at, &extended, row as usize, true);
    }
    let whole = WriteBatch::concat(&[&plain, &extended, &plain, &taken]).unwrap();
    assert_eq!(whole.start_ts.len(), whole.ts.len());
    assert_eq!(whole.histogram_end.len(), whole.rows());
    for row in 0..9 {
        same_row(&whole, 5 + row, &extended, row, true);
    }
    for row in 0..4 {
        same_row(&whole, 19 + row, &taken, row, true);
        assert!(whole.histograms_of(14 + row).is_empty());
    }
    let plain = WriteBatch::concat(&[&plain, &plain]).unwrap();
    assert!(!plain.has_more_than_floats() && plain.histogram_end.is_empty());
}

#[test]
fn histograms_that_are_not_valid_are_refused() {
    let mut batch = extended(9);
    let Histogram::Integer(mut bad) = histogram(0) else {
        unreachable!()
    };
    bad.count += 1;
    batch.histograms[0].histogram = Arc::new(Histogram::Integer(bad));
    assert!(decoded(&encode(&batch, &[1], None, false)).is_err());
    assert!(decoded(&encode(&batch, &[2], None, false)).is_ok());
}

#[test]
fn any_choice_of_rows_and_labels_round_trips() {
    for (rows, make) in [0, 1, 7, 8, 9, 64]
        .into_iter()
        .flat_map(|n| [(n, uneven as fn(usize) -> WriteBatch), (n, extended)])
    {
        let batch = make(rows);
        let all: Vec<u32> = (0..rows as u32).collect();
        let some: Vec<u32> = all.iter().rev().copied().filter(|r| r % 5 != 1).collect();
        for chosen in [&all, &some] {
            for every in [1u32, 2, 3, 1000] {
                let labelled: Vec<u32> =
                    chosen.iter().copied().filter(|r| r % every == 0).collect();
                let data = encode(&batch, chosen, Some(&labelled), true);
                let got = decoded(&data).unwrap();
                assert_eq!(got.rows(), chosen.len());
                assert_eq!(got.metadata, batch.metadata);
                for (at, &row) in chosen.iter().enumerate() {
                    same_row(&got, at, &batch, row as usize, row % every == 0);
                }
            }
        }
        let got = decoded(&encode(&batch, &all, None, false)).unwrap();
        (0..rows).for_each(|row| same_row(&got, row, &batch, row, true));
        assert!(got.metadata.is_empty());
    }
}

#[test]
fn a_reference_row_with_one_sample_costs_24_bytes() {
    let batch = batch(2000, |_| vec![(1_600_000_000_000, 1.5)]);
    let all: Vec<u32> = (0..2000).collect();
    assert!(encode(&batch, &all, Some(&[]), false).len() <= 2000 * 24 + 40);
}

#[test]
fn references_under_another_key_become_no_series() {
    let batch = uneven(10);
    let all: Vec<u32> = (0..10).collect();
    let data = encode(&batch, &all, Some(&[3, 4]), false);
    let other = SeriesHasher::new(&[4; 32]);
    let got = decode(&data, "t", &other).unwrap();
    assert_eq!(got.key_tag, other.tag());
    for row in 0..10 {
        let want = match row {
            3 | 4 => other.hash(batch.labels(row)),
            _ => 0,
        };
        assert_eq!(got.hash[row], want);
    }
}

#[test]
fn references_stay_references_when_encoded_again() {
    let batch = uneven(9);
    let all: Vec<u32> = (0..9).collect();
    let once = decoded(&encode(&batch, &all, Some(&[2]), false)).unwrap();
    let twice = decoded(&encode(&once, &all, None, false)).unwrap();
    (0..9).for_each(|row| same_row(&twice, row, &batch, row, row == 2));
}

#[test]
fn every_cut_and_flipped_bit_is_a_batch_or_an_error() {
    let batch = extended(12);
    let all: Vec<u32> = (0..12).collect();
    let data = encode(&batch, &all, Some(&[0, 5, 11]), true);
    for cut in 0..data.len() {
        assert!(decoded(&data[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..data.len() * 8 {
        let mut bad = data.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(batch) = decoded(&bad) {
            let rows: Vec<u32> = (0..batch.rows() as u32).collect();
            assert!(decoded(&encode(&batch, &rows, None, true)).is_ok());
        }
    }
    assert!(decoded(&[data, vec![0]].concat()).is_err());
}

#[test]
fn labels_must_be_canonical() {
    let good = {
        let mut labels = Vec::new();
        write_label(&mut labels, b"a", b"1");
        write_label(&mut labels, b"b", b"2");
        labels
    };
    let (a, b) = good.split_at(good.len() / 2);
    let with = |labels: &[u8]| {
        let mut batch = batch(1, |_| vec![(1, 1.0)]);
        batch.buf = Arc::new(labels.to_vec());
        batch.label_range[0] = (0, labels.len() as u32);
        decoded(&encode(&batch, &[0], None, false))
    };
    assert!(with(&good).is_ok());
    let mut long_varint = vec![0x0a, 0x87, 0x00];
    long_varint.extend_from_slice(&a[2..]);
    let mut tail = a.to_vec();
    tail[1] += 2;
    tail.extend_from_slice(&[0x1a, 0]);
    let mut empty_value = Vec::new();
    write_label(&mut empty_value, b"a", b"");
    let mut not_utf8 = Vec::new();
    write_label(&mut not_utf8, b"a", b"\xff");
    for bad in [
        &[b, a].concat(),
        &[a, a].concat(),
        &long_varint,
        &tail,
        &empty_value,
        &not_utf8,
    ] {
        assert!(with(bad).is_err(), "{bad:?}");
    }
}
