//! rate, increase, delta, irate and idelta of histograms, and of floats with start timestamps (promql-notes.md 7, 16).
//!
//! Resets are looked for once per row, between neighbours; a window then costs the difference of its ends and the
//! samples before its resets.

use std::sync::Arc;

use super::cells::Cell;
use super::flags;
use super::grid::Span;
use super::rate::{Extrapolated, seconds};
use super::timeline::{Sample, Timeline};
use crate::histogram::arithmetic::{Incompatible, Noted};
use crate::histogram::{FloatHistogram, ResetHint};

/// The samples of a window (start, end], in ms.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub span: Span,
    pub start: i64,
    pub end: i64,
}

/// What is known of a row before its windows are computed.
#[derive(Default)]
pub struct RateRow {
    /// Places of samples before which the counter began anew, ascending.
    resets: Vec<usize>,
    overlaps: Vec<usize>,
    /// Not all histograms have one schema, or one is a gauge.
    varied: bool,
}

fn in_span(places: &[usize], lo: usize, hi: usize) -> &[usize] {
    let from = places.partition_point(|&at| at < lo);
    &places[from..from + places[from..].partition_point(|&at| at < hi)]
}

pub(super) fn reconciled(noted: Noted, flag: u32) -> u32 {
    if noted.bounds_reconciled { flag } else { 0 }
}

impl RateRow {
    pub fn load(&mut self, timeline: &Timeline<'_>, kind: Extrapolated) {
        self.resets.clear();
        self.overlaps.clear();
        if kind != Extrapolated::Delta {
            let places = || 1..timeline.ts.len();
            self.resets
                .extend(places().filter(|&at| timeline.reset(at)));
            self.overlaps
                .extend(places().filter(|&at| timeline.start_overlaps(at)));
        }
        let mut schemas = timeline.samples.iter().filter_map(|sample| match sample {
            Sample::Float(_) => None,
            Sample::Histogram(h) => Some((h.schema, h.hint == ResetHint::Gauge)),
        });
        let first = schemas.next();
        self.varied = first
            .is_some_and(|(schema, gauge)| gauge || schemas.any(|other| other != (schema, false)));
    }

    /// None where the result of the kernel of plain floats stands.
    pub fn cell(
        &self,
        timeline: &Timeline<'_>,
        kind: Extrapolated,
        window: &Window,
        floats: bool,
        met: &mut u32,
    ) -> Option<Cell> {
        let Span { lo, hi } = window.span;
        let counter = kind != Extrapolated::Delta;
        if counter && hi - lo > 1 && !in_span(&self.overlaps, lo + 1, hi).is_empty() {
            *met |= flags::START_OVERLAP;
        }
        if floats {
            let has_starts = counter && timeline.starts[lo..hi].iter().any(|&start| start != 0);
            return has_starts.then(|| self.floats(timeline, kind, window));
        }
        Some(match self.histograms(timeline, kind, window, met) {
            None => Cell::Empty,
            Some(histogram) => Cell::Histogram(Arc::new(histogram)),
        })
    }

    fn floats(&self, timeline: &Timeline<'_>, kind: Extrapolated, window: &Window) -> Cell {
        let Span { lo, hi } = window.span;
        let value = |at| timeline.float(at).unwrap_or(f64::NAN);
        let first = value(lo);
        let mut rise = value(hi - 1) - first;
        for &at in in_span(&self.resets, lo + 1, hi) {
            rise += value(at - 1);
        }
        let zero = (rise > 0.0 && first >= 0.0).then(|| first / rise);
        match factor(timeline, kind, window, zero) {
            None => Cell::Empty,
            Some(factor) => {
                rise += if factor.from_start { first } else { 0.0 };
                Cell::Float(rise * factor.value)
            }
        }
    }

    fn histograms(
        &self,
        timeline: &Timeline<'_>,
        kind: Extrapolated,
        window: &Window,
        met: &mut u32,
    ) -> Option<FloatHistogram> {
        let Span { lo, hi } = window.span;
        let first = timeline.histogram(lo)?;
        let mut rise = match hi - lo {
            1 => None,
            _ => Some(self.difference(timeline, kind, window.span, met)?),
        };
        let zero = rise
            .as_ref()
            .filter(|rise| rise.count > 0.0 && first.count >= 0.0);
        let zero = zero.map(|rise| first.count / rise.count);
        let factor = factor(timeline, kind, window, zero)?;
        if factor.from_start {
            match &mut rise {
                None => rise = Some((**first).clone()),
                Some(rise) => match rise.add(first) {
                    Ok(noted) => *met |= reconciled(noted, flags::RECONCILED_ADD),
                    Err(Incompatible) => {
                        *met |= flags::MIXED_BUCKETS;
                        return None;
                    }
                },
            }
        }
        rise.map(|mut rise| {
            rise.scale(factor.value);
            rise
        })
    }

    /// Last minus first histogram, plus those before resets; compacted.
    fn difference(
        &self,
        timeline: &Timeline<'_>,
        kind: Extrapolated,
        span: Span,
        met: &mut u32,
    ) -> Option<FloatHistogram> {
        let before = *met;
        let result = self.subtract(timeline, kind, span, met);
        if result.is_err() {
            *met = before | flags::MIXED_BUCKETS;
        }
        result.ok()
    }

    fn subtract(
        &self,
        timeline: &Timeline<'_>,
        kind: Extrapolated,
        span: Span,
        met: &mut u32,
    ) -> Result<FloatHistogram, Incompatible> {
        let Span { lo, hi } = span;
        let at = |place| timeline.histogram(place).ok_or(Incompatible);
        let (mut first, second, last) = (at(lo)?.clone(), at(lo + 1)?, at(hi - 1)?);
        let counter = kind != Extrapolated::Delta;
        let gauges = [&first, last].map(|h| h.hint == ResetHint::Gauge);
        match counter {
            true if gauges.contains(&true) => *met |= flags::NOT_COUNTER,
            false if gauges.contains(&false) => *met |= flags::NOT_GAUGE,
            _ => {}
        }
        let resets = in_span(&self.resets, lo + 1, hi);
        let anew = resets.first() == Some(&(lo + 1));
        if anew {
            // The first sample is of no consequence then, and neither is its layout.
            first = Arc::new(FloatHistogram {
                schema: second.schema,
                custom: second.custom.clone(),
                ..FloatHistogram::default()
            });
        }
        let custom = first.has_custom_buckets();
        if last.has_custom_buckets() != custom {
            return Err(Incompatible);
        }
        let mut schema = first.schema.min(last.schema);
        if counter && self.varied {
            for place in lo + 1..hi - 1 {
                let histogram = at(place)?;
                if histogram.hint == ResetHint::Gauge {
                    *met |= flags::NOT_COUNTER;
                }
                if histogram.has_custom_buckets() != custom {
                    return Err(Incompatible);
                }
                schema = schema.min(histogram.schema);
            }
        }
        let mut rise = last.to_schema(schema);
        *met |= reconciled(rise.sub(&first)?, flags::RECONCILED_SUB);
        let honoured = |place: usize| {
            !anew
                || place > lo + 1
                || timeline.starts_anew(place)
                || second.hint == ResetHint::Reset
        };
        for &place in resets.iter().filter(|&&place| honoured(place)) {
            let previous = if place == lo + 1 {
                &first
            } else {
                at(place - 1)?
            };
            *met |= reconciled(rise.add(previous)?, flags::RECONCILED_ADD);
        }
        rise.hint = ResetHint::Gauge;
        rise.compact();
        Ok(rise)
    }
}

struct Factor {
    value: f64,
    /// The series is known to have been 0 within the window: the first value counts too.
    from_start: bool,
}

/// What the rise between first and last sample is multiplied with to cover the window. to_zero: first value by rise, of
/// a counter that rose. None: a single sample, and nothing to compare it with.
fn factor(
    timeline: &Timeline<'_>,
    kind: Extrapolated,
    window: &Window,
    to_zero: Option<f64>,
) -> Option<Factor> {
    let Span { lo, hi } = window.span;
    let (first_t, last_t, gaps) = (timeline.ts[lo], timeline.ts[hi - 1], hi - lo - 1);
    let counter = kind != Extrapolated::Delta;
    let between = |from: i64, to: i64| to.wrapping_sub(from) as f64 / 1000.0;
    let mut sampled = between(first_t, last_t);
    let gap = if gaps > 0 { sampled / gaps as f64 } else { 0.0 };
    let threshold = gap * 1.1;
    let start = timeline.starts[lo];
    let from_start = counter && start != 0 && start > window.start && start < first_t;
    let mut before = between(window.start, first_t);
    if from_start {
        sampled = between(start, last_t);
        before = 0.0;
    } else if gaps == 0 {
        return None;
    } else {
        if before >= threshold {
            before = gap / 2.0;
        }
        if let Some(ratio) = to_zero.filter(|_| counter) {
            let to_zero = sampled * ratio;
            before = if to_zero < before { to_zero } else { before };
        }
    }
    let mut after = between(last_t, window.end);
    if after >= threshold {
        after = gap / 2.0;
    }
    let mut value = if sampled == 0.0 {
        1.0
    } else {
        (sampled + before + after) / sampled
    };
    if kind == Extrapolated::Rate {
        value /= seconds(window.end.wrapping_sub(window.start));
    }
    Some(Factor { value, from_start })
}

/// irate and idelta: from the last sample but one to the last.
pub struct LastTwo {
    pub rate: bool,
}

impl LastTwo {
    pub fn cell(&self, timeline: &Timeline<'_>, span: Span, met: &mut u32) -> Cell {
        if span.hi - span.lo < 2 {
            return Cell::Empty;
        }
        let at = span.hi - 1;
        let elapsed = timeline.ts[at].wrapping_sub(timeline.ts[at - 1]);
        if elapsed == 0 {
            return Cell::Empty;
        }
        let per_second = elapsed as f64 / 1000.0;
        match (&timeline.samples[at - 1], &timeline.samples[at]) {
            (&Sample::Float(before), &Sample::Float(last)) => {
                let anew = self.rate && (last < before || timeline.starts_anew(at));
                let rise = if anew { last } else { last - before };
                Cell::Float(if self.rate { rise / per_second } else { rise })
            }
            (Sample::Histogram(before), Sample::Histogram(last)) => {
                match self.rise(before, last, timeline.starts_anew(at), met) {
                    Err(Incompatible) => {
                        *met |= flags::MIXED_BUCKETS;
                        Cell::Empty
                    }
                    Ok(mut rise) => {
                        if self.rate {
                            rise.divide(per_second);
                        }
                        Cell::Histogram(Arc::new(rise))
                    }
                }
            }
            _ => {
                *met |= flags::MIXED_KINDS;
                Cell::Empty
            }
        }
    }

    fn rise(
        &self,
        before: &FloatHistogram,
        last: &FloatHistogram,
        starts_anew: bool,
        met: &mut u32,
    ) -> Result<FloatHistogram, Incompatible> {
        let gauges = [before, last].map(|h| h.hint == ResetHint::Gauge);
        match self.rate {
            true if gauges.contains(&true) => *met |= flags::NOT_COUNTER,
            false if gauges.contains(&false) => *met |= flags::NOT_GAUGE,
            _ => {}
        }
        let mut rise = last.clone();
        if !self.rate || !(starts_anew || last.is_reset_after(before)) {
            *met |= reconciled(rise.sub(before)?, flags::RECONCILED_SUB);
        }
        rise.hint = ResetHint::Gauge;
        rise.compact();
        Ok(rise)
    }
}
