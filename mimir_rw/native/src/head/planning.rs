//! What a decided group appends to one log and to the table, in steps.
//!
//! Within a step floats come before histograms, and kinds of histograms after one another: that is how records hold
//! them (wal.md section 6). Where a series would be out of order by that, a step ends.

use std::sync::Arc;

use hashbrown::HashMap;

use super::wal::log::Log;
use super::wal::record::{self, HistogramKind};
use crate::histogram::Histogram;

#[derive(Clone, Copy)]
pub struct Planned {
    pub sid: u32,
    pub t: i64,
    /// Bits.
    pub v: u64,
}

pub struct PlannedHistogram {
    pub sid: u32,
    pub t: i64,
    pub identity: u64,
    pub histogram: Arc<Histogram>,
}

#[derive(Default)]
pub struct Planning {
    samples: Vec<Planned>,
    histograms: Vec<PlannedHistogram>,
    /// Samples and histograms up to the end of each step.
    ends: Vec<(usize, usize)>,
    /// Series with histograms in the step that has not ended.
    kinds: HashMap<u32, HistogramKind>,
}

pub struct Step<'a> {
    pub samples: &'a [Planned],
    pub histograms: &'a [PlannedHistogram],
}

impl Planning {
    #[inline]
    pub fn sample(&mut self, sample: Planned) {
        if !self.kinds.is_empty() && self.kinds.contains_key(&sample.sid) {
            self.end_step();
        }
        self.samples.push(sample);
    }

    pub fn histogram(&mut self, histogram: PlannedHistogram) {
        let kind = HistogramKind::of(&histogram.histogram);
        let before = self.kinds.get(&histogram.sid);
        if before.is_some_and(|&before| before != kind) {
            self.end_step();
        }
        self.kinds.insert(histogram.sid, kind);
        self.histograms.push(histogram);
    }

    pub fn end_step(&mut self) {
        self.kinds.clear();
        self.ends.push((self.samples.len(), self.histograms.len()));
    }

    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let starts = std::iter::once((0, 0)).chain(self.ends.iter().copied());
        let steps = starts.zip(&self.ends).map(|(start, end)| Step {
            samples: &self.samples[start.0..end.0],
            histograms: &self.histograms[start.1..end.1],
        });
        steps.filter(|step| !step.samples.is_empty() || !step.histograms.is_empty())
    }

    /// Put the records into a log; `reference` gives the log's name for a series.
    pub fn log(&self, log: &mut Log, reference: impl Fn(u32) -> u64) {
        for step in self.steps() {
            if !step.samples.is_empty() {
                let rows = step.samples.iter();
                let rows = rows.map(|s| (reference(s.sid), s.t, s.v));
                log.add(|out| record::put_samples(out, rows));
            }
            for kind in HistogramKind::ALL {
                let of_kind = |h: &&PlannedHistogram| HistogramKind::of(&h.histogram) == kind;
                let rows = step.histograms.iter().filter(of_kind);
                if rows.clone().next().is_none() {
                    continue;
                }
                let base = step
                    .histograms
                    .iter()
                    .find(|h| kind.shares_base(&h.histogram));
                let base = base.map(|h| (reference(h.sid), h.t));
                let rows = rows.map(|h| (reference(h.sid), h.t, &*h.histogram));
                log.add(|out| record::put_histograms(out, kind, base, rows));
            }
        }
    }
}
