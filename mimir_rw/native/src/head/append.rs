//! Admission of a group of batches: what each sample becomes, decided before anything is written or changed.
//!
//! The rules are Prometheus' (admission.rs). Decisions see the samples planned before them in the same group, as
//! if the batches had come one after another; the table itself stays untouched until the log has the group.

mod extras;

use std::hint::black_box;
use std::sync::Arc;

use hashbrown::HashMap;

use super::admission::{Bounds, Limits, Outcome, Refusal, Refused, Verdict, admit};
use super::lookup::BLOCK;
use super::planning::{Planned, Planning};
use super::postings::CanonicalLabels;
use super::series::{Last, NEVER, SeriesTable};
use super::wal::log::Log;
use super::wal::record;
use crate::batch::{Exemplar, WriteBatch};
use crate::codec::Damaged;
use crate::codec::histogram::is_sound;

struct NewSeries<'a> {
    hash: u128,
    token: u32,
    labels: Vec<(&'a str, &'a str)>,
}

/// A decided group.
#[derive(Default)]
pub struct Plan<'a> {
    pub outcomes: Vec<Outcome>,
    new: Vec<NewSeries<'a>>,
    in_order: Planning,
    ooo: Planning,
    exemplars: Vec<(u32, Arc<Exemplar>)>,
    exemplars_max: usize,
}

/// Scratch that outlives a group.
#[derive(Default)]
pub struct Scratch {
    sids: Vec<u32>,
    /// A bit per series: seen in this group.
    seen: Vec<u64>,
}

/// Not in the table.
const UNKNOWN: u32 = u32::MAX;

struct Planner<'a, 't> {
    table: &'t SeriesTable,
    limits: Limits,
    plan: Plan<'a>,
    /// Series that occur more than once in the group.
    tracked: HashMap<u32, Last>,
    /// New label sets: their number in `plan.new`, or the limit that keeps them out.
    fresh: HashMap<u128, Result<u32, Refusal>>,
    new_owned: u64,
    /// Owned series of the metrics that new series belong to, with the new ones.
    per_metric: HashMap<&'a str, u64>,
    ooo_seen: HashMap<(u32, i64), u64>,
    maxt: i64,
}

/// Decide a group. `Damaged`: a batch holds a label set that is not canonical.
pub fn plan<'a>(
    table: &SeriesTable,
    batches: &[&'a WriteBatch],
    limits: Limits,
    scratch: &mut Scratch,
) -> Result<Plan<'a>, Damaged> {
    let mut histograms = batches.iter().flat_map(|batch| &batch.histograms);
    if !histograms.all(|h| is_sound(&h.histogram)) {
        return Err(Damaged(
            "the buckets of a histogram are not those of its spans",
        ));
    }
    let mut planner = Planner {
        table,
        limits,
        plan: Plan {
            exemplars_max: limits.exemplars_max,
            ..Plan::default()
        },
        tracked: HashMap::new(),
        fresh: HashMap::new(),
        new_owned: 0,
        per_metric: HashMap::new(),
        ooo_seen: HashMap::new(),
        maxt: table.maxt,
    };
    planner.resolve(batches, scratch);
    let mut rest = scratch.sids.as_slice();
    for batch in batches {
        let (sids, after) = rest.split_at(batch.label_range.len());
        rest = after;
        planner.batch(batch, sids)?;
    }
    Ok(planner.plan)
}

impl<'a> Planner<'a, '_> {
    /// Fill `scratch.sids` for all rows and find the series that need tracking.
    fn resolve(&mut self, batches: &[&'a WriteBatch], scratch: &mut Scratch) {
        let Scratch { sids, seen } = scratch;
        sids.clear();
        seen.resize(self.table.len().div_ceil(64), 0);
        for batch in batches {
            self.table.find_all(&batch.hash, UNKNOWN, sids);
        }
        let floats_only = batches.iter().all(|batch| batch.histograms.is_empty());
        let histograms_of = |batch: &WriteBatch, row: usize| match floats_only {
            true => 0,
            false => batch.histograms_of(row).len(),
        };
        let rows = batches
            .iter()
            .flat_map(|b| (0..b.label_range.len()).map(move |row| (b, row)))
            .map(|(b, row)| b.samples(row).len() + histograms_of(b, row));
        for (&sid, samples) in sids.iter().zip(rows) {
            if sid == UNKNOWN {
                continue;
            }
            let (word, bit) = (sid as usize / 64, 1u64 << (sid % 64));
            if seen[word] & bit != 0 || samples > 1 {
                self.tracked.insert(sid, self.table.last(sid));
            }
            seen[word] |= bit;
        }
        for &sid in sids.iter().filter(|&&sid| sid != UNKNOWN) {
            seen[sid as usize / 64] = 0;
        }
    }

    fn batch(&mut self, batch: &'a WriteBatch, sids: &[u32]) -> Result<(), Damaged> {
        let bounds = Bounds::new(self.table, self.maxt, &self.limits);
        let floats_only = batch.histograms.is_empty() && batch.exemplars.is_empty();
        self.plan.outcomes.push(Outcome::default());
        for (row, &sid) in sids.iter().enumerate() {
            if row % BLOCK == 0 {
                let block = sids[row..].iter().take(BLOCK);
                black_box(self.table.touch_states(block.copied()));
            }
            if sid == UNKNOWN {
                self.fresh_row(batch, row, &bounds)?;
            } else if self.tracked.is_empty() || !self.tracked.contains_key(&sid) {
                let last = self.table.last(sid);
                for i in batch.samples(row) {
                    self.sample(batch, row, sid, last, i, &bounds);
                }
                if !floats_only {
                    self.histogram_row(batch, row, sid, last, &bounds);
                }
            } else {
                self.tracked_row(batch, row, sid, &bounds);
            }
            if !floats_only {
                self.exemplar_row(batch, row, sid);
            }
        }
        self.plan.in_order.end_step();
        self.plan.ooo.end_step();
        Ok(())
    }

    fn tracked_row(&mut self, batch: &'a WriteBatch, row: usize, sid: u32, bounds: &Bounds) {
        let mut last = self.tracked.get(&sid).copied().unwrap_or(NEVER);
        for i in batch.samples(row) {
            if self.sample(batch, row, sid, last, i, bounds) {
                last = Last {
                    any: true,
                    t: batch.ts[i],
                    v: batch.values[i].to_bits(),
                };
            }
        }
        for sample in batch.histograms_of(row) {
            if let Some(v) = self.histogram(batch, row, sid, last, sample, bounds) {
                let t = sample.ts;
                last = Last { any: true, t, v };
            }
        }
        self.tracked.insert(sid, last);
    }

    /// A row whose series the table does not have. It becomes one with its first sample that is admitted.
    fn fresh_row(
        &mut self,
        batch: &'a WriteBatch,
        row: usize,
        bounds: &Bounds,
    ) -> Result<(), Damaged> {
        let hash = batch.hash[row];
        if batch.is_reference(row) {
            match self.fresh.get(&hash).copied() {
                Some(Ok(number)) => {
                    let sid = self.table.len() as u32 + number;
                    self.tracked_row(batch, row, sid, bounds);
                }
                _ => self.unresolved(row),
            }
            return Ok(());
        }
        if !self.fresh.contains_key(&hash) {
            let acceptable = |t: i64| {
                let verdict = admit(NEVER, t, 0, bounds);
                matches!(verdict, Verdict::InOrder | Verdict::OutOfOrder)
            };
            if times_of(batch, row).any(acceptable) {
                let decided = self.create(batch, row)?;
                self.fresh.insert(hash, decided);
            }
        }
        match self.fresh.get(&hash).copied() {
            Some(Ok(number)) => {
                let sid = self.table.len() as u32 + number;
                self.tracked_row(batch, row, sid, bounds);
            }
            Some(Err(limit)) => {
                for t in times_of(batch, row) {
                    self.refuse(limit, batch, row, UNKNOWN, t);
                }
            }
            None => {
                for i in batch.samples(row) {
                    self.sample(batch, row, UNKNOWN, NEVER, i, bounds);
                }
                self.histogram_row(batch, row, UNKNOWN, NEVER, bounds);
            }
        }
        Ok(())
    }

    fn create(
        &mut self,
        batch: &'a WriteBatch,
        row: usize,
    ) -> Result<Result<u32, Refusal>, Damaged> {
        let labels = CanonicalLabels::new(batch.labels(row)).collect::<Result<Vec<_>, _>>()?;
        let ascending = labels.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending
            || labels
                .iter()
                .any(|(name, value)| name.is_empty() || value.is_empty())
        {
            return Err(Damaged("label set is not in canonical form"));
        }
        let (token, number) = (batch.token[row], self.plan.new.len() as u32);
        if self.table.len() as u64 + u64::from(number) >= u64::from(UNKNOWN) {
            return Ok(Err(Refusal::SeriesPerUser));
        }
        if self.table.owns(token)
            && let Err(limit) = self.admit_series(&labels)
        {
            return Ok(Err(limit));
        }
        self.plan.new.push(NewSeries {
            hash: batch.hash[row],
            token,
            labels,
        });
        Ok(Ok(number))
    }

    /// Whether an owned series more is within the limits; then it is counted. What is not owned is another instance's
    /// to count: it is here only because two views of the ring differ.
    fn admit_series(&mut self, labels: &[(&'a str, &'a str)]) -> Result<(), Refusal> {
        let over = |count: u64, max: u64| max > 0 && count >= max;
        if over(
            self.table.owned_count() + self.new_owned,
            self.limits.series_max,
        ) {
            return Err(Refusal::SeriesPerUser);
        }
        let per_metric_max = self.limits.series_per_metric_max;
        if per_metric_max > 0 {
            let metric = labels
                .iter()
                .find(|l| l.0 == "__name__")
                .map_or("", |l| l.1);
            let table = self.table;
            let count = self
                .per_metric
                .entry(metric)
                .or_insert_with(|| table.metric_series(metric));
            if over(*count, per_metric_max) {
                return Err(Refusal::SeriesPerMetric);
            }
            *count += 1;
        }
        self.new_owned += 1;
        Ok(())
    }

    /// Decide sample `i` of a row; whether it became the series' last.
    #[inline]
    fn sample(
        &mut self,
        batch: &'a WriteBatch,
        row: usize,
        sid: u32,
        last: Last,
        i: usize,
        bounds: &Bounds,
    ) -> bool {
        let (t, v) = (batch.ts[i], batch.values[i].to_bits());
        match admit(last, t, v, bounds) {
            Verdict::InOrder => {
                self.plan.in_order.sample(Planned { sid, t, v });
                self.maxt = self.maxt.max(t);
                self.stored();
                return true;
            }
            Verdict::Equal => self.stored(),
            Verdict::OutOfOrder => self.ooo_sample(batch, row, Planned { sid, t, v }),
            Verdict::Refused(why) => self.refuse(why, batch, row, sid, t),
        }
        false
    }

    fn ooo_sample(&mut self, batch: &'a WriteBatch, row: usize, sample: Planned) {
        let Planned { sid, t, v } = sample;
        match self.ooo_verdict(sid, t, v, SeriesTable::holds) {
            Verdict::OutOfOrder => {
                self.plan.ooo.sample(sample);
                self.stored();
            }
            Verdict::Refused(why) => self.refuse(why, batch, row, sid, t),
            _ => self.stored(),
        }
    }

    /// Out of order: equal to what is there, another at the same time, or new. `holds` asks for it in closed chunks.
    fn ooo_verdict(
        &mut self,
        sid: u32,
        t: i64,
        v: u64,
        holds: impl Fn(&SeriesTable, u32, i64, u64) -> bool,
    ) -> Verdict {
        let known = self.ooo_seen.get(&(sid, t)).copied();
        let in_table = || match (sid as usize) < self.table.len() {
            true => self.table.ooo_value(sid, t),
            false => None,
        };
        match known.or_else(in_table) {
            Some(same) if same == v => Verdict::Equal,
            Some(_) => Verdict::Refused(Refusal::DuplicateTimestamp),
            None if (sid as usize) < self.table.len() && holds(self.table, sid, t, v) => {
                Verdict::Equal
            }
            None => {
                self.ooo_seen.insert((sid, t), v);
                self.maxt = self.maxt.max(t);
                Verdict::OutOfOrder
            }
        }
    }

    fn stored(&mut self) {
        if let Some(outcome) = self.plan.outcomes.last_mut() {
            outcome.stored += 1;
        }
    }

    #[cold]
    fn unresolved(&mut self, row: usize) {
        if let Some(outcome) = self.plan.outcomes.last_mut() {
            outcome.unresolved.push(row as u32);
        }
    }

    #[cold]
    fn refuse(&mut self, why: Refusal, batch: &WriteBatch, row: usize, sid: u32, t: i64) {
        let text = |planner: &Self| planner.series_text(batch, row, sid);
        self.refuse_as(|outcome| &mut outcome.refused, why, row, t, text);
    }

    fn refuse_as(
        &mut self,
        refused: impl Fn(&mut Outcome) -> &mut Vec<Refused>,
        why: Refusal,
        row: usize,
        t: i64,
        labels: impl Fn(&Self) -> String,
    ) {
        let number = row as u32;
        let Some(outcome) = self.plan.outcomes.last_mut() else {
            return;
        };
        if let Some(known) = refused(outcome).iter_mut().find(|r| r.why == why) {
            known.count += 1;
            if known.rows.last() != Some(&number) {
                known.rows.push(number);
            }
            return;
        }
        let first = Refused {
            why,
            count: 1,
            labels: labels(self),
            t,
            rows: vec![number],
        };
        if let Some(outcome) = self.plan.outcomes.last_mut() {
            refused(outcome).push(first);
        }
    }

    /// The series of a row: by its labels, else by its number.
    fn series_text(&self, batch: &WriteBatch, row: usize, sid: u32) -> String {
        if !batch.is_reference(row) {
            return series_text(CanonicalLabels::new(batch.labels(row)).flatten());
        }
        let known = self.table.len() as u32;
        match sid.checked_sub(known) {
            None => series_text(self.table.labels.labels(sid)),
            Some(new) => {
                let new = self.plan.new.get(new as usize);
                series_text(new.into_iter().flat_map(|new| new.labels.iter().copied()))
            }
        }
    }
}

fn times_of(batch: &WriteBatch, row: usize) -> impl Iterator<Item = i64> + '_ {
    let histograms = batch.histograms_of(row).iter().map(|h| h.ts);
    batch.ts[batch.samples(row)]
        .iter()
        .copied()
        .chain(histograms)
}

/// A series as error texts name it: `up{job="a"}`.
fn series_text<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut metric = "";
    let mut rest = Vec::new();
    for (name, value) in labels {
        match name {
            "__name__" => metric = value,
            _ => rest.push(format!("{name}={value:?}")),
        }
    }
    match rest.is_empty() {
        true => metric.to_string(),
        false => format!("{metric}{{{}}}", rest.join(", ")),
    }
}

impl Plan<'_> {
    /// Put the group's records into the logs, series first. Nothing is written yet.
    pub fn log(&self, table: &SeriesTable, wal: &mut Log, wbl: &mut Log) {
        wal.begin();
        wbl.begin();
        if !self.new.is_empty() {
            wal.add(|out| {
                record::begin_series(out);
                for (n, series) in self.new.iter().enumerate() {
                    record::put_series(out, table.next_ref(n), series.labels.iter().copied());
                }
            });
        }
        let known = table.len() as u32;
        let reference = |sid: u32| match sid.checked_sub(known) {
            None => table.ref_of(sid),
            Some(new) => table.next_ref(new as usize),
        };
        self.in_order.log(wal, reference);
        self.ooo.log(wbl, reference);
        if !self.exemplars.is_empty() {
            let rows = self
                .exemplars
                .iter()
                .map(|(sid, e)| (reference(*sid), &**e));
            wal.add(|out| record::put_exemplars(out, rows));
        }
    }

    /// Carry the group out; the logs have it.
    pub fn apply(&self, table: &mut SeriesTable) {
        for series in &self.new {
            let reference = table.next_ref(0);
            table.create(
                reference,
                series.hash,
                series.token,
                series.labels.iter().copied(),
            );
        }
        for step in self.in_order.steps() {
            for block in step.samples.chunks(BLOCK) {
                black_box(table.touch_blocks(block.iter().map(|s| s.sid)));
                for s in block {
                    table.append(s.sid, s.t, s.v);
                }
            }
            for h in step.histograms {
                table.append_histogram(h.sid, h.t, &h.histogram, h.identity);
            }
        }
        for step in self.ooo.steps() {
            for s in step.samples {
                table.insert_ooo(s.sid, s.t, s.v);
            }
            for h in step.histograms {
                table.insert_ooo_histogram(h.sid, h.t, &h.histogram);
            }
        }
        table.exemplars.resize(self.exemplars_max);
        let refused = self.outcomes.iter().flat_map(|o| &o.exemplars_refused);
        let late = refused.filter(|r| r.why == Refusal::ExemplarOutOfOrder);
        table.exemplars.out_of_order += late.map(|r| r.count).sum::<u64>();
        for (sid, exemplar) in &self.exemplars {
            table.exemplars.add(*sid, exemplar);
        }
    }
}
