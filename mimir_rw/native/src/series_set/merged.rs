//! The series of several replicas as one set.
//!
//! Replicas get the same samples in the same order, mostly, and cut chunks where the samples say; so their chunks are
//! mostly equal, or one is the beginning of the other (a message is still under way). A row is decoded like this: runs
//! of all replicas by first time, the fullest first; of those that begin together one is read, and the others are only
//! compared with its bytes. If what was read ascends, it is whole. Else (gaps, late samples, different cuts) each
//! replica is read by itself and the results merged. Where replicas have different values at one time the one whose
//! bits are the larger unsigned integer stands: the order of the replicas does not matter. Histograms: histograms.rs.

use std::cmp::Reverse;
use std::ops::Range;

use super::histograms::HistogramRows;
use super::runs::{Columns, Run, RunSource, Samples, Source};
use crate::codec::Damaged;
use crate::codec::histogram::looks::Looks;
use crate::codec::merge::{follow_one_another, merge_runs};
use crate::codec::xor::{self, Mark};
use crate::labels::LabelFrame;
use crate::labels::union::Union;

pub struct MergedSet {
    sources: Vec<Source>,
    union: Union,
}

/// Samples that the last byte of a chunk can hold at most, whole or in part.
const SAMPLES_PER_BYTE: usize = 5;

impl MergedSet {
    pub fn new(sources: Vec<Source>) -> Self {
        let frames: Vec<&LabelFrame> = sources.iter().map(Source::labels).collect();
        let union = Union::new(&frames);
        MergedSet { sources, union }
    }

    pub fn labels(&self) -> &LabelFrame {
        &self.union.labels
    }

    pub fn len(&self) -> usize {
        self.union.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The runs of a row, replica after replica, and the end of each replica's.
    fn runs<'a>(&'a self, row: usize, runs: &mut Vec<Run<'a>>, ends: &mut Vec<usize>) {
        runs.clear();
        ends.clear();
        for &(source, row) in self.union.sources(row) {
            self.sources[source as usize].push_runs(row as usize, runs);
            ends.push(runs.len());
        }
    }

    /// Upper bound of the samples in rows, histograms by their weight.
    pub fn sample_count_max(&self, rows: Range<usize>) -> usize {
        self.count_max(rows, |run| run.sample_weight())
    }

    /// The same of samples that count for as much as `weight` says.
    fn count_max(&self, rows: Range<usize>, weight: impl Fn(&Run<'_>) -> usize) -> usize {
        let (mut runs, mut ends, mut total) = (Vec::new(), Vec::new(), 0);
        for row in rows {
            self.runs(row, &mut runs, &mut ends);
            runs.sort_by_key(|run| (run.mint, Reverse(run.sample_count())));
            let mut fullest: Option<&Run<'_>> = None;
            for run in &runs {
                match fullest {
                    Some(fullest) if run.samples == fullest.samples => {}
                    Some(fullest) if begins_like(run, fullest) => {
                        total += SAMPLES_PER_BYTE * weight(run);
                    }
                    _ => {
                        total += run.sample_count() * weight(run);
                        fullest = Some(run);
                    }
                }
            }
        }
        total
    }

    /// Samples of rows with mint <= t <= maxt; of histograms that are not looked at only the times are right.
    pub fn decode(
        &self,
        rows: Range<usize>,
        mint: i64,
        maxt: i64,
        looks: &Looks,
    ) -> Result<Columns, Damaged> {
        let floats = |run: &Run<'_>| usize::from(!run.samples.are_histograms());
        let room = self.count_max(rows.clone(), floats);
        let mut reader = Reader {
            mint,
            maxt,
            ts: Vec::with_capacity(room),
            values: Vec::with_capacity(room),
            ends: Vec::new(),
        };
        let mut histograms = HistogramRows::default();
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        let (mut runs, mut ends, mut ordered) = (Vec::new(), Vec::new(), Vec::new());
        offsets.push(0);
        for row in rows {
            self.runs(row, &mut runs, &mut ends);
            let start = reader.ts.len();
            let others = runs.iter().any(|run| run.samples.are_histograms());
            if others {
                let number = offsets.len() - 1;
                histograms.replicated_row(number, &runs, &ends, (mint, maxt), looks)?;
                keep_floats(&mut runs, &mut ends);
            }
            let whole = match ends.len() {
                1 => false,
                _ => {
                    ordered.clone_from(&runs);
                    reader.common(&mut ordered)?
                }
            };
            if !whole {
                reader.truncate(start);
                reader.each(&runs, &ends)?;
            }
            if others {
                histograms.drop_floats(&mut reader.ts, &mut reader.values, start);
            }
            offsets.push(reader.ts.len());
        }
        Ok(Columns {
            histograms: histograms.finish(offsets.len()),
            offsets,
            ts: reader.ts,
            values: reader.values,
        })
    }
}

/// As one source: for a reader of parts, in which the sources do not differ. Chunks that several sources have are there
/// once.
impl RunSource for MergedSet {
    fn labels(&self) -> &LabelFrame {
        MergedSet::labels(self)
    }

    fn runs(&self, row: usize) -> impl ExactSizeIterator<Item = Run<'_>> {
        let (mut runs, mut ends) = (Vec::new(), Vec::new());
        self.runs(row, &mut runs, &mut ends);
        let first = ends.first().copied().unwrap_or(0);
        let mut distinct: Vec<Run<'_>> = runs.drain(..first).collect();
        for run in runs {
            let same = |other: &Run<'_>| other.mint == run.mint && other.samples == run.samples;
            if !distinct.iter().any(same) {
                distinct.push(run);
            }
        }
        distinct.into_iter()
    }
}

/// Take the histograms out of the runs of several replicas, which end at `ends`.
fn keep_floats(runs: &mut Vec<Run<'_>>, ends: &mut [usize]) {
    let floats = |run: &Run<'_>| !run.samples.are_histograms();
    for end in ends {
        *end = runs[..*end].iter().filter(|run| floats(run)).count();
    }
    runs.retain(floats);
}

/// Whether all samples of `run`, but for those in its last byte, are samples of `fuller`.
fn begins_like(run: &Run<'_>, fuller: &Run<'_>) -> bool {
    let (Some((encoding, run_chunk)), Some((fuller_encoding, chunk))) =
        (run.samples.chunk(), fuller.samples.chunk())
    else {
        return false;
    };
    let common = run_chunk.len().saturating_sub(1).max(2);
    run.mint == fuller.mint
        && encoding == fuller_encoding
        && run_chunk.len() <= chunk.len()
        && run_chunk
            .get(2..common)
            .is_some_and(|bytes| *bytes == chunk[2..common])
}

struct Reader {
    mint: i64,
    maxt: i64,
    ts: Vec<i64>,
    values: Vec<f64>,
    /// Scratch: ends of the runs read for this row.
    ends: Vec<usize>,
}

impl Reader {
    fn truncate(&mut self, len: usize) {
        self.ts.truncate(len);
        self.values.truncate(len);
    }

    /// Read what the runs of all replicas have in common, once. False: they differ, and what was read means nothing.
    fn common(&mut self, runs: &mut Vec<Run<'_>>) -> Result<bool, Damaged> {
        runs.retain(|run| run.overlaps(self.mint, self.maxt));
        runs.sort_by_key(|run| (run.mint, Reverse(run.sample_count())));
        self.ends.clear();
        for group in runs.chunk_by(|a, b| a.mint == b.mint) {
            if !self.fullest(group)? {
                return Ok(false);
            }
            self.ends.push(self.ts.len());
        }
        Ok(follow_one_another(&self.ts, &self.ends))
    }

    /// Read the first of runs that begin together; whether the others are its beginnings.
    fn fullest(&mut self, group: &[Run<'_>]) -> Result<bool, Damaged> {
        let Some((first, others)) = group.split_first() else {
            return Ok(true);
        };
        let mut parts = others
            .iter()
            .filter(|run| run.samples != first.samples)
            .peekable();
        if parts.peek().is_none() {
            first.decode(self.mint, self.maxt, &mut self.ts, &mut self.values)?;
            return Ok(true);
        }
        let Samples::Chunk(chunk) = first.samples else {
            return Ok(false);
        };
        let mut begun = Vec::new();
        for run in parts {
            match run.samples {
                Samples::Chunk(begin) => begun.push((begin, Mark::at(run.sample_count()))),
                _ => return Ok(false),
            }
        }
        begun.reverse();
        let mut marks: Vec<Mark> = begun.iter().map(|begin| begin.1).collect();
        xor::decode_marked(
            chunk,
            self.mint,
            self.maxt,
            &mut marks,
            &mut self.ts,
            &mut self.values,
        )?;
        Ok(begun
            .iter()
            .zip(&marks)
            .all(|((begin, _), mark)| mark.agrees(chunk, begin)))
    }

    /// Read each replica by itself and merge.
    fn each(&mut self, runs: &[Run<'_>], ends: &[usize]) -> Result<(), Damaged> {
        let row = self.ts.len();
        let mut first = 0;
        for &end in ends {
            let start = self.ts.len();
            self.ends.clear();
            for run in runs[first..end]
                .iter()
                .filter(|run| run.overlaps(self.mint, self.maxt))
            {
                run.decode(self.mint, self.maxt, &mut self.ts, &mut self.values)?;
                self.ends.push(self.ts.len());
            }
            merge_runs(&mut self.ts, &mut self.values, start, &self.ends);
            if start > row {
                self.fold(row, start);
            }
            first = end;
        }
        Ok(())
    }

    /// Merge row..start with what follows, both ascending.
    fn fold(&mut self, row: usize, start: usize) {
        if self.ts[start - 1] < *self.ts.get(start).unwrap_or(&i64::MAX) {
            return;
        }
        let (ts, values) = (self.ts.split_off(row), self.values.split_off(row));
        let (mut a, mut b) = (0, start - row);
        while a < start - row || b < ts.len() {
            let take_a = b == ts.len() || (a < start - row && ts[a] <= ts[b]);
            let both = take_a && b < ts.len() && ts[a] == ts[b];
            let at = if take_a { a } else { b };
            let mut value = values[at];
            if both && values[b].to_bits() > value.to_bits() {
                value = values[b];
            }
            self.ts.push(ts[at]);
            self.values.push(value);
            a += usize::from(take_a);
            b += usize::from(!take_a || both);
        }
    }
}
