//! What version 2 of an encoded batch adds (batch_codec.rs): start times, histograms, exemplars.

use std::sync::Arc;

use super::batch_codec::{put_runs, read_canonical, read_runs};
use super::histogram_codec::{self, HISTOGRAM_BYTES_MIN, HistogramReader};
use super::proto::Malformed;
use crate::batch::{Exemplar, HistogramSample, WriteBatch};
use crate::codec::varint::{Cursor, put_uvarint, put_uvstr, put_varint};

/// Fewest bytes of an exemplar: time, value, no labels.
const EXEMPLAR_BYTES_MIN: usize = 10;

/// How many of each the chosen rows have.
pub struct Extras {
    start_times: usize,
    histograms: usize,
    exemplars: usize,
}

impl Extras {
    pub fn of(batch: &WriteBatch, rows: &[u32]) -> Self {
        if !batch.has_more_than_floats() {
            return Self {
                start_times: 0,
                histograms: 0,
                exemplars: 0,
            };
        }
        let samples = |row: usize| batch.samples(row);
        let rows = || rows.iter().map(|&row| row as usize);
        let known = !batch.start_ts.is_empty()
            && rows().any(|row| batch.start_ts[samples(row)].iter().any(|&start| start != 0));
        Self {
            start_times: match known {
                true => rows().map(|row| samples(row).len()).sum(),
                false => 0,
            },
            histograms: rows().map(|row| batch.histograms_of(row).len()).sum(),
            exemplars: rows().map(|row| batch.exemplars_of(row).len()).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.start_times + self.histograms + self.exemplars == 0
    }

    pub fn put(&self, batch: &WriteBatch, rows: &[u32], out: &mut Vec<u8>) {
        for count in [self.start_times, self.histograms, self.exemplars] {
            put_uvarint(out, count as u64);
        }
        let rows = || rows.iter().map(|&row| row as usize);
        if self.start_times > 0 {
            let starts: Vec<i64> = rows()
                .flat_map(|row| &batch.start_ts[batch.samples(row)])
                .copied()
                .collect();
            put_runs(out, &starts);
        }
        put_counts(
            out,
            self.histograms,
            rows().map(|row| batch.histograms_of(row).len()),
        );
        let mut before = 0i64;
        for sample in rows().flat_map(|row| batch.histograms_of(row)) {
            put_varint(out, sample.ts.wrapping_sub(before));
            before = sample.ts;
            put_varint(
                out,
                match sample.start_ts {
                    0 => 0,
                    start => sample.ts.wrapping_sub(start),
                },
            );
            histogram_codec::put(out, &sample.histogram);
        }
        put_counts(
            out,
            self.exemplars,
            rows().map(|row| batch.exemplars_of(row).len()),
        );
        let mut before = 0i64;
        for exemplar in rows().flat_map(|row| batch.exemplars_of(row)) {
            put_varint(out, exemplar.ts.wrapping_sub(before));
            before = exemplar.ts;
            out.extend_from_slice(&exemplar.value.to_le_bytes());
            put_uvstr(out, &exemplar.labels);
        }
    }
}

/// The numbers of the rows, up to the last that has any.
fn put_counts(out: &mut Vec<u8>, total: usize, counts: impl Iterator<Item = usize>) {
    let mut left = total;
    for count in counts {
        if left == 0 {
            return;
        }
        put_uvarint(out, count as u64);
        left -= count;
    }
}

/// Ends of the rows; empty when there is nothing.
fn read_counts(cursor: &mut Cursor<'_>, rows: usize, total: usize) -> Result<Vec<u32>, Malformed> {
    let mut ends = Vec::new();
    if total == 0 {
        return Ok(ends);
    }
    ends.reserve(rows);
    let mut end = 0usize;
    while end < total {
        let count = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
        end = end.saturating_add(count);
        if end > total || ends.len() == rows {
            return Err(Malformed("the numbers of the rows do not add up"));
        }
        ends.push(end as u32);
    }
    ends.resize(rows, total as u32);
    Ok(ends)
}

pub fn read(cursor: &mut Cursor<'_>, batch: &mut WriteBatch) -> Result<(), Malformed> {
    let rows = batch.rows();
    let mut count = || Ok::<_, Malformed>(usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX));
    let (start_times, histograms, exemplars) = (count()?, count()?, count()?);
    let least = histograms
        .saturating_mul(HISTOGRAM_BYTES_MIN + 2)
        .saturating_add(exemplars.saturating_mul(EXEMPLAR_BYTES_MIN));
    if least > cursor.remaining() {
        return Err(Malformed("it says that it has more rows than it can hold"));
    }
    match start_times {
        0 => {}
        all if all == batch.ts.len() => {
            let starts = read_runs(cursor, all)?;
            if starts.iter().any(|&start| start != 0) {
                batch.start_ts = starts;
            }
        }
        _ => return Err(Malformed("some samples have start times and some have not")),
    }
    batch.histogram_end = read_counts(cursor, rows, histograms)?;
    batch.histograms.reserve(histograms);
    let (mut time, mut reader) = (0i64, HistogramReader::default());
    for _ in 0..histograms {
        time = time.wrapping_add(cursor.varint()?);
        let start_ts = match cursor.varint()? {
            0 => 0,
            before => time.wrapping_sub(before),
        };
        batch.histograms.push(HistogramSample {
            ts: time,
            start_ts,
            histogram: Arc::new(reader.read(cursor)?),
        });
    }
    batch.exemplar_end = read_counts(cursor, rows, exemplars)?;
    read_exemplars(cursor, batch, exemplars)
}

fn read_exemplars(
    cursor: &mut Cursor<'_>,
    batch: &mut WriteBatch,
    count: usize,
) -> Result<(), Malformed> {
    batch.exemplars.reserve(count);
    let (mut time, mut labels) = (0i64, Vec::new());
    for _ in 0..count {
        time = time.wrapping_add(cursor.varint()?);
        let value = f64::from_bits(cursor.be64()?.swap_bytes());
        let bytes = cursor.uvstr()?;
        read_canonical(bytes, &mut labels)?;
        batch.exemplars.push(Arc::new(Exemplar {
            ts: time,
            value,
            labels: bytes.to_vec(),
        }));
    }
    Ok(())
}
