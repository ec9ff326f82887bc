//! The samples of one row in order of time, floats and histograms, without stale markers.

use std::sync::Arc;

use super::columns::SampleColumns;
use super::is_stale;
use super::start_time::{self, Stamp};
use crate::histogram::FloatHistogram;

#[derive(Clone, Copy, Debug)]
pub enum Sample<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

/// Reused from row to row. `floats[i]`: how many of the first i samples are floats.
#[derive(Default)]
pub struct Timeline<'a> {
    pub ts: Vec<i64>,
    pub samples: Vec<Sample<'a>>,
    /// 0 where it is not known; all 0 unless start timestamps are in use.
    pub starts: Vec<i64>,
    floats: Vec<usize>,
}

impl<'a> Timeline<'a> {
    pub fn load(&mut self, cols: &'a SampleColumns, row: usize, with_starts: bool) {
        self.ts.clear();
        self.samples.clear();
        self.starts.clear();
        self.floats.clear();
        self.floats.push(0);
        let (ts, values) = cols.row(row);
        let (h_ts, items) = cols.histograms().map_or((&[][..], &[][..]), |h| h.row(row));
        let starts = cols.start_row(row).filter(|_| with_starts);
        let h_starts = cols.histograms().and_then(|h| h.start_row(row));
        let h_starts = h_starts.filter(|_| with_starts);
        let (mut i, mut j) = (0, 0);
        while i < ts.len() || j < h_ts.len() {
            if j >= h_ts.len() || i < ts.len() && ts[i] < h_ts[j] {
                if !is_stale(values[i]) {
                    self.push(ts[i], starts.map_or(0, |s| s[i]), Sample::Float(values[i]));
                }
                i += 1;
            } else {
                if !items[j].is_stale() {
                    let sample = Sample::Histogram(&items[j]);
                    self.push(h_ts[j], h_starts.map_or(0, |s| s[j]), sample);
                }
                j += 1;
            }
        }
    }

    fn push(&mut self, t: i64, start: i64, sample: Sample<'a>) {
        let floats =
            self.floats[self.samples.len()] + usize::from(matches!(sample, Sample::Float(_)));
        self.floats.push(floats);
        self.ts.push(t);
        self.starts.push(start);
        self.samples.push(sample);
    }

    pub fn float_count(&self, lo: usize, hi: usize) -> usize {
        self.floats[hi] - self.floats[lo]
    }

    pub fn stamp(&self, at: usize) -> Stamp {
        Stamp {
            t: self.ts[at],
            start: self.starts[at],
        }
    }

    /// Whether start timestamps say that the counter began anew between `at` and the sample before.
    pub fn starts_anew(&self, at: usize) -> bool {
        start_time::is_reset(self.stamp(at - 1), self.stamp(at))
    }

    pub fn start_overlaps(&self, at: usize) -> bool {
        start_time::overlaps(self.stamp(at - 1), self.stamp(at))
    }

    pub fn float(&self, at: usize) -> Option<f64> {
        match self.samples[at] {
            Sample::Float(value) => Some(value),
            Sample::Histogram(_) => None,
        }
    }

    pub fn histogram(&self, at: usize) -> Option<&'a Arc<FloatHistogram>> {
        match self.samples[at] {
            Sample::Float(_) => None,
            Sample::Histogram(histogram) => Some(histogram),
        }
    }

    /// How often, up to each sample, `differs(place)` held of a sample and the one before: a prefix sum.
    pub fn transitions(&self, differs: impl Fn(usize) -> bool, until: &mut Vec<u64>) {
        until.clear();
        let mut seen = 0;
        for at in 0..self.samples.len() {
            seen += u64::from(at > 0 && differs(at));
            until.push(seen);
        }
    }

    /// A change of value or kind from the sample before; NaN after NaN is none.
    pub fn changed(&self, at: usize) -> bool {
        match (&self.samples[at - 1], &self.samples[at]) {
            (Sample::Float(a), Sample::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
            (Sample::Histogram(a), Sample::Histogram(b)) => !b.same_as(a),
            _ => true,
        }
    }

    /// A counter reset since the sample before; a change of kind is one.
    pub fn reset(&self, at: usize) -> bool {
        match (&self.samples[at - 1], &self.samples[at]) {
            (Sample::Float(a), Sample::Float(b)) => b < a || self.starts_anew(at),
            (Sample::Histogram(a), Sample::Histogram(b)) => {
                self.starts_anew(at) || b.is_reset_after(a)
            }
            _ => true,
        }
    }
}
