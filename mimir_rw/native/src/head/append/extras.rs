//! Admission of what few rows have: histograms and exemplars.

use super::{Planner, UNKNOWN};
use crate::batch::{HistogramSample, WriteBatch};
use crate::head::admission::{Bounds, Refusal, Verdict, admit};
use crate::head::exemplars::Admission;
use crate::head::identity;
use crate::head::planning::PlannedHistogram;
use crate::head::series::{Last, SeriesTable};

impl<'a> Planner<'a, '_> {
    #[inline(never)]
    pub(super) fn histogram_row(
        &mut self,
        batch: &'a WriteBatch,
        row: usize,
        sid: u32,
        last: Last,
        bounds: &Bounds,
    ) {
        for sample in batch.histograms_of(row) {
            self.histogram(batch, row, sid, last, sample, bounds);
        }
    }

    /// Decide a histogram of a row; its identity if it became the series' last sample.
    #[inline(never)]
    pub(super) fn histogram(
        &mut self,
        batch: &'a WriteBatch,
        row: usize,
        sid: u32,
        last: Last,
        sample: &HistogramSample,
        bounds: &Bounds,
    ) -> Option<u64> {
        let (t, identity) = (sample.ts, identity::of_histogram(&sample.histogram));
        let mut verdict = admit(last, t, identity, bounds);
        if let Verdict::OutOfOrder = verdict {
            verdict = self.ooo_verdict(sid, t, identity, SeriesTable::holds_histogram);
        }
        let planning = match verdict {
            Verdict::Refused(why) => {
                self.refuse(why, batch, row, sid, t);
                return None;
            }
            Verdict::Equal => None,
            Verdict::InOrder => Some(&mut self.plan.in_order),
            Verdict::OutOfOrder => Some(&mut self.plan.ooo),
        };
        if let Some(planning) = planning {
            let histogram = sample.histogram.clone();
            planning.histogram(PlannedHistogram {
                sid,
                t,
                identity,
                histogram,
            });
            self.maxt = self.maxt.max(t);
        }
        self.stored();
        if let Some(outcome) = self.plan.outcomes.last_mut() {
            outcome.histograms_stored += 1;
        }
        matches!(verdict, Verdict::InOrder).then_some(identity)
    }

    /// Decide the exemplars of a row whose samples are decided.
    #[inline(never)]
    pub(super) fn exemplar_row(&mut self, batch: &'a WriteBatch, row: usize, sid: u32) {
        let fresh = |number: u32| self.table.len() as u32 + number;
        let sid = match (sid, self.fresh.get(&batch.hash[row])) {
            (UNKNOWN, Some(Ok(number))) => Some(fresh(*number)),
            // It comes again with its labels.
            (UNKNOWN, _) if batch.is_reference(row) => return,
            (UNKNOWN, _) => None,
            (known, _) => Some(known),
        };
        if self.limits.exemplars_max == 0 {
            return;
        }
        for exemplar in batch.exemplars_of(row) {
            let Some(sid) = sid else {
                let why = Refusal::ExemplarSeriesMissing;
                self.refuse_exemplar(why, batch, row, UNKNOWN, exemplar.ts);
                continue;
            };
            match self.table.exemplars.admit(sid, exemplar) {
                Admission::OutOfOrder => {
                    let why = Refusal::ExemplarOutOfOrder;
                    self.refuse_exemplar(why, batch, row, sid, exemplar.ts);
                    continue;
                }
                Admission::Duplicate => {}
                Admission::New | Admission::Off => {
                    self.plan.exemplars.push((sid, exemplar.clone()));
                }
            }
            if let Some(outcome) = self.plan.outcomes.last_mut() {
                outcome.exemplars_stored += 1;
            }
        }
    }

    #[cold]
    fn refuse_exemplar(&mut self, why: Refusal, batch: &WriteBatch, row: usize, sid: u32, t: i64) {
        let text = |planner: &Self| planner.series_text(batch, row, sid);
        self.refuse_as(|outcome| &mut outcome.exemplars_refused, why, row, t, text);
    }
}
