//! Runs: the chunks of one series in one source, and where they come from.

use std::ops::Range;
use std::sync::Arc;

use super::encoded::EncodedSet;
use crate::codec::Damaged;
use crate::codec::merge::merge_runs;
use crate::codec::xor;
use crate::head::snapshot::Snapshot;
use crate::labels::LabelFrame;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples<'a> {
    /// An XOR chunk: sample count and bit stream.
    Chunk(&'a [u8]),
    /// Times, ascending and unique, with bits of values.
    Plain(&'a [(i64, u64)]),
}

/// Samples in ascending time, all within mint..=maxt.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub mint: i64,
    pub maxt: i64,
    pub samples: Samples<'a>,
}

impl Run<'_> {
    pub fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        self.mint <= maxt && self.maxt >= mint
    }

    /// As many as the run says it has.
    pub fn sample_count(&self) -> usize {
        match self.samples {
            Samples::Chunk(chunk) => xor::sample_count(chunk).unwrap_or(0),
            Samples::Plain(samples) => samples.len(),
        }
    }

    /// Push the samples with mint <= t <= maxt.
    pub fn decode(
        &self,
        mint: i64,
        maxt: i64,
        ts: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<(), Damaged> {
        match self.samples {
            Samples::Chunk(chunk) => xor::decode_into(chunk, mint, maxt, ts, values),
            Samples::Plain(samples) => {
                for &(t, v) in samples.iter().filter(|s| mint <= s.0 && s.0 <= maxt) {
                    ts.push(t);
                    values.push(f64::from_bits(v));
                }
                Ok(())
            }
        }
    }
}

/// Offsets of rows, times, values.
pub type Columns = (Vec<usize>, Vec<i64>, Vec<f64>);

/// Series in label order with their runs, immutable.
pub trait RunSource {
    /// Sorted, distinct.
    fn labels(&self) -> &LabelFrame;

    /// The runs of a row, those that win at equal times first.
    fn runs(&self, row: usize) -> impl ExactSizeIterator<Item = Run<'_>>;

    fn len(&self) -> usize {
        self.labels().len()
    }

    fn is_empty(&self) -> bool {
        self.labels().is_empty()
    }

    /// Upper bound of the samples in rows.
    fn sample_count_max(&self, rows: Range<usize>) -> usize {
        rows.flat_map(|row| self.runs(row))
            .map(|run| run.sample_count())
            .sum()
    }

    /// Samples of rows with mint <= t <= maxt.
    fn decode(&self, rows: Range<usize>, mint: i64, maxt: i64) -> Result<Columns, Damaged> {
        let room = self.sample_count_max(rows.clone());
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        let mut ts = Vec::with_capacity(room);
        let mut values = Vec::with_capacity(room);
        let mut ends = Vec::new();
        offsets.push(0);
        for row in rows {
            let start = ts.len();
            ends.clear();
            for run in self.runs(row).filter(|run| run.overlaps(mint, maxt)) {
                run.decode(mint, maxt, &mut ts, &mut values)?;
                ends.push(ts.len());
            }
            merge_runs(&mut ts, &mut values, start, &ends);
            offsets.push(ts.len());
        }
        Ok((offsets, ts, values))
    }
}

/// A replica's series.
pub enum Source {
    Head(Arc<Snapshot>),
    Encoded(Arc<EncodedSet>),
}

impl Source {
    pub fn labels(&self) -> &LabelFrame {
        match self {
            Source::Head(snapshot) => &snapshot.labels,
            Source::Encoded(set) => &set.labels,
        }
    }

    pub fn push_runs<'a>(&'a self, row: usize, runs: &mut Vec<Run<'a>>) {
        match self {
            Source::Head(snapshot) => runs.extend(snapshot.runs(row)),
            Source::Encoded(set) => runs.extend(set.runs(row)),
        }
    }
}

/// Whether a range of rows is within a set.
pub fn check_rows(start: usize, end: usize, len: usize) -> Result<Range<usize>, String> {
    match start <= end && end <= len {
        true => Ok(start..end),
        false => Err(format!("rows {start}..{end} of {len}")),
    }
}
