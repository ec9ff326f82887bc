//! Window functions over rows that have histograms, or start timestamps that count.
//!
//! Floats are computed by the kernels of float rows first. Then each row that needs it is walked once more, with all
//! its samples in one timeline, and the cells of windows with histograms are put.

use std::borrow::Cow;
use std::sync::Arc;

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

use super::cells::{Cell, MixedMatrix, PyMixedMatrix};
use super::columns::SampleColumns;
use super::flags;
use super::grid::{Span, Walker};
use super::histogram_rate::{LastTwo, RateRow, Window};
use super::matrix::dense1;
use super::over_time::time_s;
use super::rate::Extrapolated;
use super::timeline::{Sample, Timeline};
use super::window::{Call, checked_call, evaluate};
use crate::histogram::FloatHistogram;
use crate::histogram::arithmetic::Noted;
use crate::histogram::compensated::{HistogramMean, HistogramSum};

/// How a function deals with histograms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    FloatsOnly,
    Count,
    Present,
    First,
    Last,
    FirstTime,
    LastTime,
    Changes,
    Resets,
    Sum,
    Avg,
    Extrapolated(Extrapolated),
    LastTwo { rate: bool },
}

impl Family {
    fn of(func: &str) -> Self {
        match func {
            "count_over_time" => Self::Count,
            "present_over_time" => Self::Present,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "ts_of_first_over_time" => Self::FirstTime,
            "ts_of_last_over_time" => Self::LastTime,
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            "sum_over_time" => Self::Sum,
            "avg_over_time" => Self::Avg,
            "rate" => Self::Extrapolated(Extrapolated::Rate),
            "increase" => Self::Extrapolated(Extrapolated::Increase),
            "delta" => Self::Extrapolated(Extrapolated::Delta),
            "irate" => Self::LastTwo { rate: true },
            "idelta" => Self::LastTwo { rate: false },
            _ => Self::FloatsOnly,
        }
    }

    /// Whether start timestamps change the result.
    fn uses_starts(self) -> bool {
        match self {
            Self::Extrapolated(kind) => kind != Extrapolated::Delta,
            Self::LastTwo { rate } => rate,
            other => other == Self::Resets,
        }
    }
}

/// One row on its way.
#[derive(Default)]
struct Row<'a> {
    timeline: Timeline<'a>,
    /// Prefix sums of changes or resets.
    until: Vec<u64>,
    rate: RateRow,
}

impl<'a> Row<'a> {
    fn load(&mut self, cols: &'a SampleColumns, row: usize, family: Family, with_starts: bool) {
        self.timeline.load(cols, row, with_starts);
        let (timeline, until) = (&self.timeline, &mut self.until);
        match family {
            Family::Changes => timeline.transitions(|at| timeline.changed(at), until),
            Family::Resets => timeline.transitions(|at| timeline.reset(at), until),
            Family::Extrapolated(kind) => self.rate.load(timeline, kind),
            _ => {}
        }
    }

    /// The cell of one window, or None to leave the float kernel's.
    fn cell(&self, family: Family, window: &Window, met: &mut u32) -> Option<Cell> {
        let (timeline, Span { lo, hi }) = (&self.timeline, window.span);
        let floats = timeline.float_count(lo, hi);
        let mixed = floats > 0 && floats < hi - lo;
        let float = |value: f64| Some(Cell::Float(value));
        match family {
            Family::FloatsOnly => {
                *met |= if mixed { flags::IGNORED_HISTOGRAMS } else { 0 };
                None
            }
            Family::Count => float((hi - lo) as f64),
            Family::Present => float(1.0),
            Family::FirstTime => float(time_s(timeline.ts[lo])),
            Family::LastTime => float(time_s(timeline.ts[hi - 1])),
            Family::First => Some(cell_of(&timeline.samples[lo])),
            Family::Last => Some(cell_of(&timeline.samples[hi - 1])),
            Family::Changes | Family::Resets => float((self.until[hi - 1] - self.until[lo]) as f64),
            Family::LastTwo { rate } => Some(LastTwo { rate }.cell(timeline, window.span, met)),
            Family::Sum | Family::Avg | Family::Extrapolated(_) if mixed => {
                *met |= flags::MIXED_KINDS;
                Some(Cell::Empty)
            }
            Family::Sum if floats == 0 => Some(self.sum(window.span, met)),
            Family::Avg if floats == 0 => Some(self.mean(window.span, met)),
            Family::Sum | Family::Avg => None,
            Family::Extrapolated(kind) => self.rate.cell(timeline, kind, window, floats > 0, met),
        }
    }

    fn histograms(&self, span: Span) -> impl Iterator<Item = &Arc<FloatHistogram>> {
        (span.lo..span.hi).filter_map(|at| self.timeline.histogram(at))
    }

    fn sum(&self, span: Span, met: &mut u32) -> Cell {
        let mut all = self.histograms(span);
        let Some(first) = all.next() else {
            return Cell::Empty;
        };
        let mut sum = HistogramSum::new(first);
        if all.try_for_each(|next| sum.add(next)).is_err() {
            *met |= flags::MIXED_BUCKETS;
            return Cell::Empty;
        }
        *met |= aggregation_flags(sum.noted());
        Cell::Histogram(Arc::new(sum.finish()))
    }

    fn mean(&self, span: Span, met: &mut u32) -> Cell {
        let mut all = self.histograms(span);
        let Some(first) = all.next() else {
            return Cell::Empty;
        };
        let mut mean = HistogramMean::new(first);
        if all.try_for_each(|next| mean.add(next)).is_err() {
            *met |= flags::MIXED_BUCKETS;
            return Cell::Empty;
        }
        *met |= aggregation_flags(mean.noted());
        Cell::Histogram(Arc::new(mean.finish()))
    }
}

fn cell_of(sample: &Sample<'_>) -> Cell {
    match sample {
        Sample::Float(value) => Cell::Float(*value),
        Sample::Histogram(histogram) => Cell::Histogram((*histogram).clone()),
    }
}

fn aggregation_flags(noted: Noted) -> u32 {
    let collision = if noted.reset_collision {
        flags::RESET_COLLISION
    } else {
        0
    };
    let reconciled = if noted.bounds_reconciled {
        flags::RECONCILED_AGGREGATION
    } else {
        0
    };
    collision | reconciled
}

fn run(call: &Call<'_>, func: &str, use_starts: bool) -> PyResult<MixedMatrix> {
    let mut out = MixedMatrix::over(evaluate(call, func)?)?;
    let family = Family::of(func);
    let with_starts = use_starts && family.uses_starts();
    let mut row = Row::default();
    for number in 0..call.cols.rows() {
        let histograms = call
            .cols
            .histograms()
            .is_some_and(|h| !h.row(number).0.is_empty());
        let starts = with_starts
            && call
                .cols
                .start_row(number)
                .is_some_and(|s| s.iter().any(|&s| s != 0));
        if !histograms && !starts {
            continue;
        }
        row.load(call.cols, number, family, with_starts);
        let mut walker = Walker::new(&row.timeline.ts);
        let mut last: Option<(Span, Option<Cell>)> = None;
        for step in 0..call.grid.steps {
            let end = call.grid.at(step);
            let start = end.saturating_sub(call.range);
            let span = walker.move_to(start, end);
            if span.lo == span.hi {
                continue;
            }
            let cell = match last {
                Some((seen, ref cell))
                    if seen == span && !matches!(family, Family::Extrapolated(_)) =>
                {
                    cell.clone()
                }
                _ => row.cell(family, &Window { span, start, end }, &mut out.flags[number]),
            };
            if let Some(cell) = &cell {
                out.set(number, step, cell)?;
            }
            last = Some((span, cell));
        }
    }
    Ok(out)
}

/// `window` over rows with histograms; use_starts: start timestamps count.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn window_mixed<'py>(
    py: Python<'py>,
    func: &str,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    range_ms: i64,
    params: Vec<PyReadonlyArray1<'py, f64>>,
    use_starts: bool,
) -> PyResult<PyMixedMatrix<'py>> {
    let params: Vec<Cow<'_, [f64]>> = params.iter().map(dense1).collect();
    let call = checked_call(func, cols, (start_ms, step_ms, steps), range_ms, &params)?;
    py.detach(|| run(&call, func, use_starts))?.into_py(py)
}
