//! Histograms of rows: the runs of a row, of one source or of several replicas, as one ascending sequence.
//!
//! What a histogram says about resets is true only beside the sample that came before it in its chunk. Where a row is
//! put together from several runs, the first sample after a change of run knows nothing any more, but for gauges.
//! At equal times within a source the earlier run wins; between sources the histogram whose identity is the larger
//! number does, so that the order of replicas does not matter. Where one replica has a float and another a histogram,
//! the histogram stands.

use std::cmp::Reverse;
use std::sync::Arc;

use super::runs::Run;
use crate::codec::Damaged;
use crate::codec::histogram::looks::Looks;
use crate::codec::histogram::read::begins_like;
use crate::codec::merge::follow_one_another;
use crate::head::identity;
use crate::histogram::{FloatHistogram, HistogramColumn, ResetHint};
use crate::windows::columns::HistogramSamples;

/// Rows of histograms, where most rows have none.
#[derive(Default)]
pub struct HistogramRows {
    /// Of the rows up to the last that has any.
    offsets: Vec<usize>,
    ts: Vec<i64>,
    items: Vec<Arc<FloatHistogram>>,
}

impl HistogramRows {
    /// Add the row with this number (they ascend): the histograms of the runs of one source.
    pub fn row(
        &mut self,
        number: usize,
        runs: &[Run<'_>],
        range: (i64, i64),
        looks: &Looks,
    ) -> Result<(), Damaged> {
        self.begin(number);
        let mut sequence = Sequence::default();
        sequence.read_looked(runs, range, looks)?;
        self.end(sequence);
        Ok(())
    }

    /// The same of the runs of several replicas, which end at `ends`.
    pub fn replicated_row(
        &mut self,
        number: usize,
        runs: &[Run<'_>],
        ends: &[usize],
        range: (i64, i64),
        looks: &Looks,
    ) -> Result<(), Damaged> {
        self.begin(number);
        let mut sequence = Sequence::default();
        if let Some(common) = common_runs(runs, range.0, range.1) {
            sequence.read_looked(&common, range, looks)?;
        } else {
            let mut first = 0;
            for &end in ends {
                let mut replica = Sequence::default();
                replica.read(&runs[first..end], range)?;
                sequence = sequence.merged(replica);
                first = end;
            }
        }
        self.end(sequence);
        Ok(())
    }

    fn begin(&mut self, number: usize) {
        self.offsets.resize(number + 1, self.ts.len());
    }

    fn end(&mut self, mut sequence: Sequence) {
        self.ts.append(&mut sequence.ts);
        self.items.append(&mut sequence.items);
    }

    /// Drop the floats from `start` on, those of the row added last, at whose times it has histograms.
    pub fn drop_floats(&self, ts: &mut Vec<i64>, values: &mut Vec<f64>, start: usize) {
        let row = &self.ts[self.offsets.last().copied().unwrap_or(0)..];
        let keep: Vec<bool> = ts[start..]
            .iter()
            .map(|t| row.binary_search(t).is_err())
            .collect();
        if keep.contains(&false) {
            let (mut times, mut kept) = (keep.iter(), keep.iter());
            let (rest, others) = (ts.split_off(start), values.split_off(start));
            ts.extend(rest.into_iter().filter(|_| times.next() == Some(&true)));
            values.extend(others.into_iter().filter(|_| kept.next() == Some(&true)));
        }
    }

    /// `offsets`: as many as the rows have.
    pub fn finish(mut self, offsets: usize) -> Option<HistogramSamples> {
        if self.items.is_empty() {
            return None;
        }
        self.offsets.resize(offsets, self.ts.len());
        Some(HistogramSamples {
            offsets: self.offsets,
            ts: self.ts,
            column: HistogramColumn { items: self.items },
            start_ts: None,
        })
    }
}

/// Runs of all replicas that hold between them, one after another, what each of them holds. None: there are none such.
fn common_runs<'a>(runs: &[Run<'a>], mint: i64, maxt: i64) -> Option<Vec<Run<'a>>> {
    let mut runs: Vec<Run<'a>> = runs.to_vec();
    runs.retain(|run| run.samples.are_histograms() && run.overlaps(mint, maxt));
    runs.sort_by_key(|run| (run.mint, Reverse(run.sample_count())));
    let mut common: Vec<Run<'a>> = Vec::with_capacity(runs.len());
    for run in runs {
        match common.last() {
            Some(last) if is_beginning(&run, last) => {}
            Some(last) if run.mint <= last.maxt => return None,
            _ => common.push(run),
        }
    }
    Some(common)
}

fn is_beginning(run: &Run<'_>, of: &Run<'_>) -> bool {
    if run.mint != of.mint {
        return false;
    }
    match (run.samples.chunk(), of.samples.chunk()) {
        (Some(part), Some(whole)) if part.0 == whole.0 => {
            part.1 == whole.1 || begins_like(part.0, whole.1, part.1)
        }
        _ => false,
    }
}

/// Histograms in ascending time.
#[derive(Default)]
struct Sequence {
    ts: Vec<i64>,
    items: Vec<Arc<FloatHistogram>>,
}

impl Sequence {
    /// Read the runs of one source for a query that says what it looks at. Where runs overlap, samples of different
    /// chunks are neighbours, and all of them are read whole.
    fn read_looked(
        &mut self,
        runs: &[Run<'_>],
        range: (i64, i64),
        looks: &Looks,
    ) -> Result<(), Damaged> {
        let ends = self.push_runs(runs, range, looks)?;
        if looks.at_all() || follow_one_another(&self.ts, &ends) {
            self.order(&ends);
            return Ok(());
        }
        *self = Self::default();
        self.read(runs, range)
    }

    /// Read the runs of one source.
    fn read(&mut self, runs: &[Run<'_>], range: (i64, i64)) -> Result<(), Damaged> {
        let ends = self.push_runs(runs, range, &Looks::ALL)?;
        self.order(&ends);
        Ok(())
    }

    /// The runs one after the other; where each of them ends.
    fn push_runs(
        &mut self,
        runs: &[Run<'_>],
        (mint, maxt): (i64, i64),
        looks: &Looks,
    ) -> Result<Vec<usize>, Damaged> {
        let mut ends = Vec::new();
        let wanted = |run: &&Run<'_>| run.samples.are_histograms() && run.overlaps(mint, maxt);
        for run in runs.iter().filter(wanted) {
            run.decode_histograms(mint, maxt, looks, &mut self.ts, &mut self.items)?;
            ends.push(self.ts.len());
        }
        Ok(ends)
    }

    /// Samples of runs, which end at `ends`, in ascending time.
    fn order(&mut self, ends: &[usize]) {
        if !follow_one_another(&self.ts, ends) {
            let of_run = |at: usize| ends.partition_point(|&end| end <= at);
            let mut order: Vec<usize> = (0..self.ts.len()).collect();
            // Stable: at equal times the earlier run comes first.
            order.sort_by_key(|&at| self.ts[at]);
            order.dedup_by_key(|at| self.ts[*at]);
            let takes = order.iter().map(|&at| (of_run(at), at));
            *self = Self::taken(takes, |_, at| (self.ts[at], &self.items[at]));
        }
    }

    /// With the histograms of another replica.
    fn merged(self, other: Self) -> Self {
        if self.ts.is_empty() {
            return other;
        }
        let both = [self, other];
        let (mut a, mut b) = (0, 0);
        let takes = std::iter::from_fn(|| {
            let (left, right) = (both[0].ts.get(a), both[1].ts.get(b));
            let from = match (left, right) {
                (None, None) => return None,
                (Some(left), Some(right)) if left == right => {
                    let one = |from: usize, at: usize| identity::of(false, &both[from].items[at]);
                    usize::from(one(1, b) > one(0, a))
                }
                (left, right) => {
                    usize::from(left.is_none() || right.is_some_and(|r| left > Some(r)))
                }
            };
            let take = (from, [a, b][from]);
            let t = both[from].ts[take.1];
            a += usize::from(left == Some(&t));
            b += usize::from(right == Some(&t));
            Some(take)
        });
        Self::taken(takes, |from, at| (both[from].ts[at], &both[from].items[at]))
    }

    /// Samples by (where from, number there), in ascending time.
    fn taken<'a>(
        takes: impl Iterator<Item = (usize, usize)>,
        sample: impl Fn(usize, usize) -> (i64, &'a Arc<FloatHistogram>),
    ) -> Self {
        let mut taken = Self::default();
        let mut before = None;
        for (from, at) in takes {
            let (t, item) = sample(from, at);
            let follows = at > 0 && before == Some((from, at - 1));
            taken.ts.push(t);
            taken.items.push(match follows {
                true => item.clone(),
                false => without_knowledge(item),
            });
            before = Some((from, at));
        }
        taken
    }
}

/// The histogram where another than that of its chunk is before it.
fn without_knowledge(item: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match item.hint {
        ResetHint::Unknown | ResetHint::Gauge => item.clone(),
        ResetHint::Reset | ResetHint::NotReset => Arc::new(FloatHistogram {
            hint: ResetHint::Unknown,
            ..(**item).clone()
        }),
    }
}
