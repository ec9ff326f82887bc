//! A `WriteBatch` between processes: columns, labels only where the sender says so.
//!
//! ```text
//! version u8 (1), tag of the hash key u64 LE
//! uvarint rows, uvarint samples, uvarint labelled rows, uvarint metadata entries
//! labelled bitmap, one bit a row, low bit first     when some rows are labelled and some are not
//! hashes 16 bytes LE, one per reference row
//! u8: 1 = each row has one sample; 0 = a uvarint with the number of samples of each row follows
//! times as runs: varint difference to the run before (from 0), uvarint length, until all samples have one
//! values f64 LE
//! labels: uvarint length and canonical labels, one per labelled row
//! metadata: type u8, then name, help and unit, each after its uvarint length
//! ```
//!
//! Nearly all samples of a push share one time, so a reference row costs 24 bytes and a decode little more than copying
//! them. Hash and token of a labelled row are not sent: the receiver computes them, so that a series never enters a
//! head under a hash that only its sender vouches for.
//!
//! Bounds: every count is checked against the bytes that are left before anything is allocated; what is allocated is at
//! most eight times the input.

use std::borrow::Cow;
use std::sync::Arc;

use super::proto::Malformed;
use super::series::{SeriesHasher, TokenBatch, TokenHasher, canonical_label_bytes};
use crate::batch::{Metadata, WriteBatch};
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_uvstr, put_varint};
use crate::head::postings::CanonicalLabels;

const VERSION: u8 = 1;
const HASH_BYTES: usize = 16;
const VALUE_BYTES: usize = 8;
/// Fewest bytes of a labelled row's section: a length and a label of one-byte name and value.
const LABELS_BYTES_MIN: usize = 9;
const METADATA_BYTES_MIN: usize = 4;

impl From<Damaged> for Malformed {
    fn from(damaged: Damaged) -> Self {
        Malformed(damaged.0)
    }
}

/// Encode rows by number, each in range. `labelled`: those whose labels go along, None for all that have any.
pub fn encode(
    batch: &WriteBatch,
    rows: &[u32],
    labelled: Option<&[u32]>,
    metadata: bool,
) -> Vec<u8> {
    let (with_labels, labelled_count) = labelled_rows(batch, rows, labelled);
    let columns = Columns::of(batch, rows);
    let metadata = if metadata { &batch.metadata[..] } else { &[] };

    let label_bytes = |&row: &u32| batch.label_range[row as usize].1 as usize + 5;
    let label_bytes: usize = match labelled_count {
        0 => 0,
        _ => rows.iter().map(label_bytes).sum(),
    };
    let fixed_bytes = rows.len() * HASH_BYTES + columns.ts.len() * VALUE_BYTES;
    let mut out = Vec::with_capacity(64 + fixed_bytes + label_bytes);
    out.push(VERSION);
    out.extend_from_slice(&batch.key_tag.to_le_bytes());
    let counts = [rows.len(), columns.ts.len(), labelled_count, metadata.len()];
    counts
        .iter()
        .for_each(|&count| put_uvarint(&mut out, count as u64));

    let is_labelled = |row: u32| labelled_count > 0 && with_labels[row as usize];
    if labelled_count == 0 {
        for &row in rows {
            out.extend_from_slice(&batch.hash[row as usize].to_le_bytes());
        }
    } else if labelled_count < rows.len() {
        let bit = |(i, &row): (usize, &u32)| u8::from(is_labelled(row)) << i;
        let byte = |rows: &[u32]| {
            rows.iter()
                .enumerate()
                .map(bit)
                .fold(0, |byte, bit| byte | bit)
        };
        out.extend(rows.chunks(8).map(byte));
        for &row in rows.iter().filter(|&&row| !is_labelled(row)) {
            out.extend_from_slice(&batch.hash[row as usize].to_le_bytes());
        }
    }
    columns.put(batch, rows, &mut out);
    for &row in rows.iter().filter(|&&row| is_labelled(row)) {
        put_uvstr(&mut out, batch.labels(row as usize));
    }
    for entry in metadata {
        out.push(entry.kind);
        for text in [&entry.name, &entry.help, &entry.unit] {
            put_uvstr(&mut out, text.as_bytes());
        }
    }
    out
}

/// Whether each row of the batch is sent with labels (empty: none is), and of how many of `rows` that is true.
fn labelled_rows(batch: &WriteBatch, rows: &[u32], labelled: Option<&[u32]>) -> (Vec<bool>, usize) {
    let has_labels = |row: usize| !batch.is_reference(row);
    let with_labels: Vec<bool> = match labelled {
        None => (0..batch.rows()).map(has_labels).collect(),
        Some([]) => return (Vec::new(), 0),
        Some(labelled) => {
            let mut with_labels = vec![false; batch.rows()];
            for &row in labelled {
                with_labels[row as usize] = has_labels(row as usize);
            }
            with_labels
        }
    };
    let count = rows
        .iter()
        .filter(|&&row| with_labels[row as usize])
        .count();
    (with_labels, count)
}

/// Samples of chosen rows; those of rows in a row are not copied.
struct Columns<'a> {
    ts: Cow<'a, [i64]>,
    values: Cow<'a, [f64]>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a WriteBatch, rows: &[u32]) -> Self {
        let consecutive = rows.windows(2).all(|two| two[0].wrapping_add(1) == two[1]);
        if consecutive && let [first, .., last] | [first @ last] = rows {
            let (start, end) = (
                batch.samples(*first as usize).start,
                batch.samples(*last as usize).end,
            );
            return Columns {
                ts: Cow::Borrowed(&batch.ts[start..end]),
                values: Cow::Borrowed(&batch.values[start..end]),
            };
        }
        let samples = || rows.iter().map(|&row| batch.samples(row as usize));
        Columns {
            ts: samples()
                .flat_map(|samples| &batch.ts[samples])
                .copied()
                .collect(),
            values: samples()
                .flat_map(|samples| &batch.values[samples])
                .copied()
                .collect(),
        }
    }

    fn put(&self, batch: &WriteBatch, rows: &[u32], out: &mut Vec<u8>) {
        let count = |row: u32| batch.samples(row as usize).len();
        let one_each = self.ts.len() == rows.len() && rows.iter().all(|&row| count(row) == 1);
        out.push(u8::from(one_each));
        if !one_each {
            rows.iter()
                .for_each(|&row| put_uvarint(out, count(row) as u64));
        }
        let mut before = 0i64;
        for run in self.ts.chunk_by(|a, b| a == b) {
            put_varint(out, run[0].wrapping_sub(before));
            put_uvarint(out, run.len() as u64);
            before = run[0];
        }
        for value in self.values.iter() {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Decode a batch of `tenant`. Rows with labels get their hash by `hasher` and their token here; references that were
/// hashed with another key become 0, the hash of no series.
pub fn decode(data: &[u8], tenant: &str, hasher: &SeriesHasher) -> Result<WriteBatch, Malformed> {
    let mut cursor = Cursor::new(data);
    if cursor.u8()? != VERSION {
        return Err(Malformed("unknown version of a batch"));
    }
    let key_tag = cursor.be64()?.swap_bytes();
    let mut count = || Ok::<_, Malformed>(usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX));
    let (rows, samples, labelled, metadata) = (count()?, count()?, count()?, count()?);
    let least = [
        rows.checked_sub(labelled)
            .ok_or(Malformed("more rows with labels than rows"))?
            .saturating_mul(HASH_BYTES),
        samples.saturating_mul(VALUE_BYTES),
        labelled.saturating_mul(LABELS_BYTES_MIN),
        metadata.saturating_mul(METADATA_BYTES_MIN),
    ];
    let least = least.into_iter().fold(0usize, usize::saturating_add);
    if least > cursor.remaining() || u32::try_from(data.len()).is_err() {
        return Err(Malformed("it says that it has more rows than it can hold"));
    }
    let mut batch = WriteBatch {
        key_tag: hasher.tag(),
        token: vec![0; rows],
        label_range: vec![(0, 0); rows],
        hash: vec![0; rows],
        ..WriteBatch::default()
    };
    let labelled = read_references(&mut cursor, &mut batch, labelled)?;
    if key_tag != batch.key_tag {
        batch.hash.fill(0);
    }
    read_samples(&mut cursor, &mut batch, samples)?;
    read_labels(&mut cursor, &mut batch, &labelled, tenant, hasher)?;
    for _ in 0..metadata {
        batch.metadata.push(read_metadata(&mut cursor)?);
    }
    match cursor.is_empty() {
        true => Ok(batch),
        false => Err(Malformed("bytes after the end of a batch")),
    }
}

/// Fill the hashes of reference rows; the numbers of the others, of which there are `labelled`.
fn read_references(
    cursor: &mut Cursor<'_>,
    batch: &mut WriteBatch,
    labelled: usize,
) -> Result<Vec<u32>, Malformed> {
    let rows = batch.rows();
    let bitmap = match labelled {
        0 => &[],
        all if all == rows => return Ok((0..rows as u32).collect()),
        _ => cursor.bytes(rows.div_ceil(8))?,
    };
    let has_labels = |row: usize| {
        bitmap
            .get(row / 8)
            .is_some_and(|byte| byte >> (row % 8) & 1 != 0)
    };
    let with_labels: Vec<u32> = match labelled {
        0 => Vec::new(),
        _ => (0..rows as u32)
            .filter(|&row| has_labels(row as usize))
            .collect(),
    };
    let padding = bitmap
        .last()
        .map_or(0, |&byte| byte.unbounded_shr(((rows + 7) % 8 + 1) as u32));
    if with_labels.len() != labelled || padding != 0 {
        return Err(Malformed(
            "the bitmap of rows with labels does not agree with their number",
        ));
    }
    let hashes = cursor
        .bytes((rows - labelled) * HASH_BYTES)?
        .as_chunks::<HASH_BYTES>()
        .0;
    let hashes = hashes.iter().map(|bytes| u128::from_le_bytes(*bytes));
    if labelled == 0 {
        batch
            .hash
            .iter_mut()
            .zip(hashes)
            .for_each(|(to, hash)| *to = hash);
    } else {
        let references = (0..rows).filter(|&row| !has_labels(row));
        references
            .zip(hashes)
            .for_each(|(row, hash)| batch.hash[row] = hash);
    }
    Ok(with_labels)
}

fn read_samples(
    cursor: &mut Cursor<'_>,
    batch: &mut WriteBatch,
    samples: usize,
) -> Result<(), Malformed> {
    let rows = batch.rows();
    match cursor.u8()? {
        1 if samples == rows => batch.sample_end.extend(1..=rows as u32),
        0 => {
            batch.sample_end.reserve(rows);
            let mut end = 0u64;
            for _ in 0..rows {
                end = end
                    .saturating_add(cursor.uvarint()?)
                    .min(u64::from(u32::MAX));
                batch.sample_end.push(end as u32);
            }
            if end != samples as u64 {
                return Err(Malformed(
                    "the numbers of samples of the rows do not add up",
                ));
            }
        }
        _ => return Err(Malformed("unknown coding of the numbers of samples")),
    }
    batch.ts.reserve(samples);
    let mut time = 0i64;
    while batch.ts.len() < samples {
        time = time.wrapping_add(cursor.varint()?);
        let run = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
        if run == 0 || run > samples - batch.ts.len() {
            return Err(Malformed("a run of times does not fit"));
        }
        batch.ts.resize(batch.ts.len() + run, time);
    }
    let values = cursor
        .bytes(samples * VALUE_BYTES)?
        .as_chunks::<VALUE_BYTES>()
        .0;
    batch.values = values
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect();
    Ok(())
}

fn read_labels(
    cursor: &mut Cursor<'_>,
    batch: &mut WriteBatch,
    labelled: &[u32],
    tenant: &str,
    hasher: &SeriesHasher,
) -> Result<(), Malformed> {
    if labelled.is_empty() {
        return Ok(());
    }
    let mut buf = Vec::new();
    let mut tokens = TokenBatch::new(TokenHasher::new(tenant));
    let mut labels = Vec::new();
    for &row in labelled {
        let bytes = cursor.uvstr()?;
        labels.clear();
        for label in CanonicalLabels::new(bytes) {
            labels.push(label?);
        }
        let ascending = labels.windows(2).all(|two| two[0].0 < two[1].0);
        let full = labels
            .iter()
            .all(|label| !label.0.is_empty() && !label.1.is_empty());
        let shortest = labels
            .iter()
            .map(|(name, value)| canonical_label_bytes(name.len(), value.len()))
            .sum::<usize>();
        if labels.is_empty() || !ascending || !full || shortest != bytes.len() {
            return Err(Malformed("label set is not in canonical form"));
        }
        batch.label_range[row as usize] = (buf.len() as u32, bytes.len() as u32);
        batch.hash[row as usize] = hasher.hash(bytes);
        buf.extend_from_slice(bytes);
        let text = labels
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        tokens.add(row, text, &mut batch.token);
    }
    tokens.finish(&mut batch.token);
    batch.buf = Arc::new(buf);
    Ok(())
}

fn read_metadata(cursor: &mut Cursor<'_>) -> Result<Metadata, Malformed> {
    let kind = cursor.u8()?;
    if kind > 7 {
        return Err(Malformed("unknown type of a metric"));
    }
    let mut text = || {
        let bytes = cursor.uvstr()?;
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("metadata is not UTF-8"))?;
        Ok::<_, Malformed>(text.to_owned())
    };
    Ok(Metadata {
        kind,
        name: text()?,
        help: text()?,
        unit: text()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::series::write_label;

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
    }

    #[test]
    fn any_choice_of_rows_and_labels_round_trips() {
        for rows in [0, 1, 7, 8, 9, 64] {
            let batch = uneven(rows);
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
        let batch = uneven(12);
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
}
