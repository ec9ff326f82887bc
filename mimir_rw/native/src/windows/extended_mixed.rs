//! `anchored` and `smoothed` selectors over rows that have histograms; see extended.rs for what a window is.

use std::sync::Arc;

use pyo3::prelude::*;

use super::cells::{Cell, MixedMatrix, PyMixedMatrix};
use super::columns::SampleColumns;
use super::extended::{Geometry, checked_geometry, evaluate, interpolate};
use super::flags;
use super::grid::{Grid, Span};
use super::histogram_rate::reconciled;
use super::rate::seconds;
use super::timeline::{Sample, Timeline};
use crate::histogram::arithmetic::Incompatible;
use crate::histogram::{FloatHistogram, ResetHint};

type Result<T> = std::result::Result<T, Incompatible>;

/// A histogram on the line from a to b at time t. A counter that began anew between them has risen from nothing.
fn between(
    a: (i64, &FloatHistogram),
    b: (i64, &FloatHistogram),
    t: i64,
    counter: bool,
    met: &mut u32,
) -> Result<FloatHistogram> {
    if t == a.0 || t == b.0 {
        return Ok(if t == a.0 { a.1 } else { b.1 }.clone());
    }
    let fraction = t.wrapping_sub(a.0) as f64 / b.0.wrapping_sub(a.0) as f64;
    let mut out = b.1.clone();
    if counter && b.1.is_reset_after(a.1) {
        out.scale(fraction);
        return Ok(out);
    }
    *met |= reconciled(out.sub(a.1)?, flags::RECONCILED_SUB);
    out.scale(fraction);
    *met |= reconciled(out.add(a.1)?, flags::RECONCILED_ADD);
    Ok(out)
}

/// The histograms of a window [start, end], from the first that counts to the last.
struct Window<'a> {
    samples: Vec<(i64, &'a Arc<FloatHistogram>)>,
    start: i64,
    end: i64,
    smoothed: bool,
    counter: bool,
}

impl<'a> Window<'a> {
    /// None where the series has nothing to say about the window. span: of what it may see, not empty.
    fn cut(
        timeline: &'a Timeline<'a>,
        span: Span,
        bounds: (i64, i64),
        geometry: &Geometry,
        counter: bool,
    ) -> Option<Self> {
        let ts = &timeline.ts[span.lo..span.hi];
        let (start, end) = bounds;
        let newest = ts.len() - 1;
        let first = ts[..newest]
            .partition_point(|&t| t <= start)
            .saturating_sub(1);
        let last = match geometry.smoothed {
            true => ts[..newest].partition_point(|&t| t < end),
            false => newest,
        };
        if ts[last] <= start || geometry.smoothed && ts[first] > end {
            return None;
        }
        let places = span.lo + first..=span.lo + last;
        let samples = places.filter_map(|at| Some((timeline.ts[at], timeline.histogram(at)?)));
        Some(Self {
            samples: samples.collect(),
            start,
            end,
            smoothed: geometry.smoothed,
            counter,
        })
    }

    fn sample(&self, at: usize) -> (i64, &FloatHistogram) {
        (self.samples[at].0, self.samples[at].1)
    }

    /// All of one kind of buckets; and whether they are what the function is for.
    fn check(&self, met: &mut u32) -> Result<()> {
        let custom = self.samples[0].1.has_custom_buckets();
        for (_, histogram) in &self.samples {
            if histogram.has_custom_buckets() != custom {
                return Err(Incompatible);
            }
            if self.counter && histogram.hint == ResetHint::Gauge {
                *met |= flags::NOT_COUNTER;
            }
        }
        Ok(())
    }

    fn left(&self, met: &mut u32) -> Result<FloatHistogram> {
        let first = self.sample(0);
        if self.smoothed && first.0 < self.start {
            return between(first, self.sample(1), self.start, self.counter, met);
        }
        Ok(first.1.clone())
    }

    fn right(&self, met: &mut u32) -> Result<FloatHistogram> {
        let last = self.samples.len() - 1;
        if self.smoothed && last > 0 && self.samples[last].0 > self.end {
            let (before, after) = (self.sample(last - 1), self.sample(last));
            return between(before, after, self.end, self.counter, met);
        }
        Ok(self.samples[last].1.as_ref().clone())
    }

    fn increase(&self, met: &mut u32) -> Result<FloatHistogram> {
        self.check(met)?;
        let (left, right) = (self.left(met)?, self.right(met)?);
        if !self.counter && [&left, &right].iter().any(|h| h.hint != ResetHint::Gauge) {
            *met |= flags::NOT_GAUGE;
        }
        let mut rise = right.clone();
        *met |= reconciled(rise.sub(&left)?, flags::RECONCILED_SUB);
        if self.counter
            && let Some(lost) = self.before_resets(&left, &right, met)?
        {
            *met |= reconciled(rise.add(&lost)?, flags::RECONCILED_ADD);
        }
        Ok(rise)
    }

    /// The sum of the histograms before each reset strictly inside the window, and before one at its right bound.
    fn before_resets(
        &self,
        left: &FloatHistogram,
        right: &FloatHistogram,
        met: &mut u32,
    ) -> Result<Option<FloatHistogram>> {
        let last = self.samples.len() - 1;
        let (mut first, mut previous) = (1, left);
        let interpolated = self.smoothed && self.samples[0].0 < self.start;
        if interpolated && self.sample(1).1.is_reset_after(self.sample(0).1) {
            // The value at the left bound has this reset behind it already.
            (first, previous) = (2, self.sample(1).1);
        }
        if first > last {
            return Ok(None);
        }
        let mut lost: Option<FloatHistogram> = None;
        let inner = (first..last).map(|at| self.sample(at).1);
        for now in inner.chain([right]) {
            if now.is_reset_after(previous) {
                match &mut lost {
                    None => lost = Some(previous.clone()),
                    Some(lost) => *met |= reconciled(lost.add(previous)?, flags::RECONCILED_ADD),
                }
            }
            previous = now;
        }
        Ok(lost)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Function {
    Changes,
    Resets,
    Increase { counter: bool, rate: bool },
}

impl Function {
    /// `func` was found to be known.
    fn of(func: &str) -> Self {
        match func {
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            _ => Self::Increase {
                counter: func != "delta",
                rate: func == "rate",
            },
        }
    }
}

/// Changes or resets from the anchor on, the last sample at or before the start, whatever it is.
fn transitions(timeline: &Timeline<'_>, function: Function, span: Span, start: i64) -> Cell {
    let after = span.lo + timeline.ts[span.lo..span.hi].partition_point(|&t| t <= start);
    if after >= span.hi {
        return Cell::Empty;
    }
    let first = after.saturating_sub(1).max(span.lo);
    let differs = |&at: &usize| match function {
        Function::Changes => timeline.changed(at),
        _ => timeline.reset(at),
    };
    Cell::Float((first + 1..span.hi).filter(differs).count() as f64)
}

/// None where the float kernel's result stands.
fn cell(
    timeline: &Timeline<'_>,
    function: Function,
    span: Span,
    end: i64,
    geometry: &Geometry,
    met: &mut u32,
) -> Option<Cell> {
    let floats = timeline.float_count(span.lo, span.hi);
    let start = end.saturating_sub(geometry.range);
    let Function::Increase { counter, rate } = function else {
        return Some(transitions(timeline, function, span, start));
    };
    if floats == span.hi - span.lo {
        return None;
    }
    if floats > 0 {
        *met |= flags::MIXED_KINDS;
        return Some(Cell::Empty);
    }
    let Some(window) = Window::cut(timeline, span, (start, end), geometry, counter) else {
        return Some(Cell::Empty);
    };
    Some(match window.increase(met) {
        Err(Incompatible) => {
            *met |= flags::MIXED_BUCKETS;
            Cell::Empty
        }
        Ok(mut rise) => {
            if rate {
                rise.divide(seconds(geometry.range));
            }
            rise.hint = ResetHint::Gauge;
            rise.compact();
            Cell::Histogram(Arc::new(rise))
        }
    })
}

fn run(cols: &SampleColumns, geometry: &Geometry, func: &str) -> PyResult<MixedMatrix> {
    let mut out = MixedMatrix::over(evaluate(cols, geometry, func)?)?;
    let function = Function::of(func);
    let ahead = if geometry.smoothed {
        geometry.lookback
    } else {
        0
    };
    let mut timeline = Timeline::default();
    for row in 0..cols.rows() {
        if cols.histograms().is_none_or(|h| h.row(row).0.is_empty()) {
            continue;
        }
        timeline.load(cols, row, false);
        for step in 0..geometry.grid.steps {
            let end = geometry.grid.at(step);
            let from = end
                .saturating_sub(geometry.range)
                .saturating_sub(geometry.lookback);
            let lo = timeline.ts.partition_point(|&t| t <= from);
            let hi = timeline
                .ts
                .partition_point(|&t| t <= end.saturating_add(ahead));
            if lo >= hi {
                continue;
            }
            let met = &mut out.flags[row];
            let cell = cell(&timeline, function, Span { lo, hi }, end, geometry, met);
            if let Some(cell) = cell {
                out.set(row, step, &cell)?;
            }
        }
    }
    Ok(out)
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn window_extended_mixed<'py>(
    py: Python<'py>,
    func: &str,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    range_ms: i64,
    lookback_ms: i64,
    smoothed: bool,
) -> PyResult<PyMixedMatrix<'py>> {
    let grid = Grid::new(start_ms, step_ms, steps)?;
    let geometry = checked_geometry(grid, range_ms, lookback_ms, smoothed)?;
    py.detach(|| run(cols, &geometry, func))?.into_py(py)
}

/// The cell at time t of the samples in span, between its neighbours or, after the last, that one.
fn smooth_at(timeline: &Timeline<'_>, span: Span, t: i64, met: &mut u32) -> Cell {
    let floats = timeline.float_count(span.lo, span.hi);
    if floats > 0 && floats < span.hi - span.lo {
        *met |= flags::MIXED_KINDS;
        return Cell::Empty;
    }
    let next = span.lo + timeline.ts[span.lo..span.hi].partition_point(|&sample| sample < t);
    let exact = next < span.hi && timeline.ts[next] == t;
    if !exact && next == span.lo {
        return Cell::Empty;
    }
    let before = if exact { next } else { next - 1 };
    let alone = exact || next == span.hi;
    match (timeline.samples[before], alone) {
        (Sample::Float(value), true) => Cell::Float(value),
        (Sample::Float(value), false) => {
            let after = timeline.float(next).unwrap_or(f64::NAN);
            let points = ((timeline.ts[before], value), (timeline.ts[next], after));
            Cell::Float(interpolate(points.0, points.1, t, false))
        }
        (Sample::Histogram(histogram), true) if exact => Cell::Histogram(histogram.clone()),
        (Sample::Histogram(histogram), true) => Cell::Histogram(Arc::new(FloatHistogram {
            hint: ResetHint::Unknown,
            ..(**histogram).clone()
        })),
        (Sample::Histogram(histogram), false) => {
            let Some(after) = timeline.histogram(next) else {
                return Cell::Empty;
            };
            if histogram.has_custom_buckets() != after.has_custom_buckets() {
                *met |= flags::MIXED_BUCKETS;
                return Cell::Empty;
            }
            let counter = [histogram, after]
                .iter()
                .any(|h| h.hint != ResetHint::Gauge);
            let points = (
                (timeline.ts[before], &**histogram),
                (timeline.ts[next], &**after),
            );
            match between(points.0, points.1, t, counter, met) {
                Ok(histogram) => Cell::Histogram(Arc::new(histogram)),
                Err(Incompatible) => {
                    *met |= flags::MIXED_BUCKETS;
                    Cell::Empty
                }
            }
        }
    }
}

fn smooth(cols: &SampleColumns, grid: Grid, lookback: i64) -> PyResult<MixedMatrix> {
    let mut out = MixedMatrix::empty(cols.rows(), grid.steps)?;
    let mut timeline = Timeline::default();
    for row in 0..cols.rows() {
        timeline.load(cols, row, false);
        for step in 0..grid.steps {
            let t = grid.at(step);
            let lo = timeline
                .ts
                .partition_point(|&sample| sample <= t.saturating_sub(lookback));
            let hi = timeline
                .ts
                .partition_point(|&sample| sample <= t.saturating_add(lookback));
            if lo < hi {
                let cell = smooth_at(&timeline, Span { lo, hi }, t, &mut out.flags[row]);
                out.set(row, step, &cell)?;
            }
        }
    }
    Ok(out)
}

#[pyfunction]
pub fn select_smoothed_mixed<'py>(
    py: Python<'py>,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    lookback_ms: i64,
) -> PyResult<PyMixedMatrix<'py>> {
    let grid = Grid::new(start_ms, step_ms, steps)?;
    py.detach(|| smooth(cols, grid, lookback_ms))?.into_py(py)
}
