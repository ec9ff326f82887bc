//! A `WriteBatch` between processes: columns, labels only where the sender says so.
//!
//! ```text
//! version u8 (1 or 2), tag of the hash key u64 LE
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
//! and in version 2, which is written only where there is something of it:
//!
//! ```text
//! uvarint start times (0 or the number of samples), uvarint histograms, uvarint exemplars
//! start times as runs, as times are
//! histograms: the number of each row as uvarint, until there are all; then each:
//!     varint difference to the time before (from 0), varint start time (as a difference to its time; 0: unknown),
//!     and as in histogram_codec.rs
//! exemplars: their number of each row in the same way; then each: varint difference of its time to the one before,
//!     value f64 LE, uvarint length and canonical labels
//! ```
//!
//! Nearly all samples of a push share one time, so a reference row costs 24 bytes and a decode little more than copying
//! them. Hash and token of a labelled row are not sent: the receiver computes them, so that a series never enters a
//! head under a hash that only its sender vouches for.
//!
//! Bounds: every count is checked against the bytes that are left before anything is allocated; what is allocated is at
//! most twelve times the input.

use std::borrow::Cow;
use std::sync::Arc;

use super::batch_extras::{self, Extras};
use super::proto::Malformed;
use super::series::{SeriesHasher, TokenBatch, TokenHasher, canonical_label_bytes};
use crate::batch::{Metadata, WriteBatch};
use crate::codec::Damaged;
use crate::codec::varint::{Cursor, put_uvarint, put_uvstr, put_varint};
use crate::head::postings::CanonicalLabels;

const VERSION: u8 = 1;
/// Has start times, histograms or exemplars.
const VERSION_EXTENDED: u8 = 2;
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
    let extras = Extras::of(batch, rows);
    let fixed_bytes = rows.len() * HASH_BYTES + columns.ts.len() * VALUE_BYTES;
    let mut out = Vec::with_capacity(64 + fixed_bytes + label_bytes);
    out.push(match extras.is_empty() {
        true => VERSION,
        false => VERSION_EXTENDED,
    });
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
    if !extras.is_empty() {
        extras.put(batch, rows, &mut out);
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
        put_runs(out, &self.ts);
        for value in self.values.iter() {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

pub fn put_runs(out: &mut Vec<u8>, times: &[i64]) {
    let mut before = 0i64;
    for run in times.chunk_by(|a, b| a == b) {
        put_varint(out, run[0].wrapping_sub(before));
        put_uvarint(out, run.len() as u64);
        before = run[0];
    }
}

/// Decode a batch of `tenant`. Rows with labels get their hash by `hasher` and their token here; references that were
/// hashed with another key become 0, the hash of no series.
pub fn decode(data: &[u8], tenant: &str, hasher: &SeriesHasher) -> Result<WriteBatch, Malformed> {
    let mut cursor = Cursor::new(data);
    let version = cursor.u8()?;
    if !matches!(version, VERSION | VERSION_EXTENDED) {
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
    if version == VERSION_EXTENDED {
        batch_extras::read(&mut cursor, &mut batch)?;
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
    batch.ts = read_runs(cursor, samples)?;
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

/// Times as runs. count: bounded by the caller.
pub fn read_runs(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<i64>, Malformed> {
    let mut times = Vec::with_capacity(count);
    let mut time = 0i64;
    while times.len() < count {
        time = time.wrapping_add(cursor.varint()?);
        let run = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
        if run == 0 || run > count - times.len() {
            return Err(Malformed("a run of times does not fit"));
        }
        times.resize(times.len() + run, time);
    }
    Ok(times)
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
        read_canonical(bytes, &mut labels)?;
        if labels.is_empty() {
            return Err(NOT_CANONICAL);
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

const NOT_CANONICAL: Malformed = Malformed("label set is not in canonical form");

/// The labels of a set that is in canonical form, which is empty or not.
pub fn read_canonical<'a>(
    bytes: &'a [u8],
    labels: &mut Vec<(&'a str, &'a str)>,
) -> Result<(), Malformed> {
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
    match ascending && full && shortest == bytes.len() {
        true => Ok(()),
        false => Err(NOT_CANONICAL),
    }
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
