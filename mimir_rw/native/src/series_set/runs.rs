//! Runs: the chunks of one series in one source, and where they come from.

use std::ops::Range;
use std::sync::Arc;

use super::encoded::EncodedSet;
use super::histograms::HistogramRows;
use super::merged::MergedSet;
use crate::codec::Damaged;
use crate::codec::histogram::chunks_of;
use crate::codec::histogram::looks::Looks;
use crate::codec::histogram::read::{decode_into, extent};
use crate::codec::merge::merge_runs;
use crate::codec::xor;
use crate::head::snapshot::Snapshot;
use crate::histogram::stored::DeltaBuckets;
use crate::histogram::{Buckets, FloatHistogram, Histogram};
use crate::labels::LabelFrame;
use crate::windows::columns::HistogramSamples;

#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    /// An XOR chunk: sample count and bit stream.
    Chunk(&'a [u8]),
    /// Times, ascending and unique, with bits of values.
    Plain(&'a [(i64, u64)]),
    /// A chunk of histograms, and its encoding.
    Histograms(u8, &'a [u8]),
    /// Times, ascending and unique.
    PlainHistograms(&'a [(i64, Arc<Histogram>)]),
}

impl<'a> Samples<'a> {
    pub fn are_histograms(&self) -> bool {
        matches!(self, Self::Histograms(..) | Self::PlainHistograms(_))
    }

    /// Encoding and bytes of a chunk.
    pub fn chunk(&self) -> Option<(u8, &'a [u8])> {
        match *self {
            Self::Chunk(chunk) => Some((XOR, chunk)),
            Self::Histograms(encoding, chunk) => Some((encoding, chunk)),
            Self::Plain(_) | Self::PlainHistograms(_) => None,
        }
    }
}

/// Chunks of the same bytes, or equal plain floats. Plain histograms are not compared.
impl PartialEq for Samples<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Plain(a), Self::Plain(b)) => a == b,
            _ => self.chunk().is_some() && self.chunk() == other.chunk(),
        }
    }
}

/// Encoding of float chunks (tsdb-block.md section 5.1).
pub const XOR: u8 = 1;

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
            // Both kinds of chunks begin with the count.
            Samples::Histograms(_, chunk) => xor::sample_count(chunk).unwrap_or(0),
            Samples::PlainHistograms(samples) => samples.len(),
        }
    }

    /// What a sample counts for where memory is counted in samples: 1 for a float.
    pub fn sample_weight(&self) -> usize {
        match self.samples {
            Samples::Chunk(_) | Samples::Plain(_) => 1,
            Samples::Histograms(encoding, chunk) => {
                weight(extent(encoding, chunk).map_or(0, |(_, parts)| parts))
            }
            Samples::PlainHistograms(samples) => {
                let parts = samples.iter().map(|(_, h)| part_count(h));
                weight(parts.max().unwrap_or(0))
            }
        }
    }

    /// Push the floats with mint <= t <= maxt; histograms have none.
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
            Samples::Histograms(..) | Samples::PlainHistograms(_) => Ok(()),
        }
    }

    /// Push the histograms with mint <= t <= maxt; floats have none. Of those not looked at only the times are right.
    pub fn decode_histograms(
        &self,
        mint: i64,
        maxt: i64,
        looks: &Looks,
        ts: &mut Vec<i64>,
        histograms: &mut Vec<Arc<FloatHistogram>>,
    ) -> Result<(), Damaged> {
        match self.samples {
            Samples::Histograms(encoding, chunk) => {
                decode_into(encoding, chunk, mint, maxt, looks, ts, histograms)
            }
            // As chunks, so that they know the same about resets here and where they are sent to.
            Samples::PlainHistograms(samples) => chunks_of(samples.iter().map(|(t, h)| (*t, &**h)))
                .into_iter()
                .try_for_each(|(encoding, _, _, chunk)| {
                    decode_into(encoding, &chunk, mint, maxt, looks, ts, histograms)
                }),
            Samples::Chunk(_) | Samples::Plain(_) => Ok(()),
        }
    }
}

/// How many samples a histogram with so many spans, buckets and bounds counts for (promql-notes.md 13).
fn weight(parts: usize) -> usize {
    (168 + 8 * parts + 8) / 16
}

fn part_count(histogram: &Histogram) -> usize {
    match histogram {
        Histogram::Integer(h) => {
            let side = |side: &DeltaBuckets| side.spans.len() + side.deltas.len();
            side(&h.positive) + side(&h.negative) + h.custom.len()
        }
        Histogram::Float(h) => {
            let side = |side: &Buckets| side.spans.len() + side.counts.len();
            side(&h.positive) + side(&h.negative) + h.custom.len()
        }
    }
}

/// Samples of rows.
#[derive(Debug, Default)]
pub struct Columns {
    pub offsets: Vec<usize>,
    pub ts: Vec<i64>,
    pub values: Vec<f64>,
    /// None: no row has any.
    pub histograms: Option<HistogramSamples>,
}

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

    /// Upper bound of the samples in rows, histograms by their weight.
    fn sample_count_max(&self, rows: Range<usize>) -> usize {
        rows.flat_map(|row| self.runs(row))
            .map(|run| run.sample_count() * run.sample_weight())
            .sum()
    }

    /// Samples of rows with mint <= t <= maxt; of histograms that are not looked at only the times are right.
    fn decode(
        &self,
        rows: Range<usize>,
        mint: i64,
        maxt: i64,
        looks: &Looks,
    ) -> Result<Columns, Damaged> {
        let floats = |run: &Run<'_>| !run.samples.are_histograms();
        let room = rows.clone().flat_map(|row| self.runs(row).filter(floats));
        let room = room.map(|run| run.sample_count()).sum();
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        let mut ts = Vec::with_capacity(room);
        let mut values = Vec::with_capacity(room);
        let mut histograms = HistogramRows::default();
        let mut ends = Vec::new();
        offsets.push(0);
        for row in rows {
            let start = ts.len();
            ends.clear();
            let mut others = false;
            for run in self.runs(row).filter(|run| run.overlaps(mint, maxt)) {
                others |= run.samples.are_histograms();
                run.decode(mint, maxt, &mut ts, &mut values)?;
                ends.push(ts.len());
            }
            merge_runs(&mut ts, &mut values, start, &ends);
            if others {
                let runs: Vec<Run<'_>> = self.runs(row).collect();
                histograms.row(offsets.len() - 1, &runs, (mint, maxt), looks)?;
                histograms.drop_floats(&mut ts, &mut values, start);
            }
            offsets.push(ts.len());
        }
        Ok(Columns {
            histograms: histograms.finish(offsets.len()),
            offsets,
            ts,
            values,
        })
    }
}

/// A replica's series.
pub enum Source {
    Head(Arc<Snapshot>),
    Encoded(Arc<EncodedSet>),
    Merged(Arc<MergedSet>),
}

impl Source {
    pub fn labels(&self) -> &LabelFrame {
        match self {
            Source::Head(snapshot) => &snapshot.labels,
            Source::Encoded(set) => &set.labels,
            Source::Merged(set) => set.labels(),
        }
    }

    pub fn push_runs<'a>(&'a self, row: usize, runs: &mut Vec<Run<'a>>) {
        match self {
            Source::Head(snapshot) => runs.extend(snapshot.runs(row)),
            Source::Encoded(set) => runs.extend(set.runs(row)),
            Source::Merged(set) => runs.extend(RunSource::runs(&**set, row)),
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
