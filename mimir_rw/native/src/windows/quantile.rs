//! The quantile of a set of values, over windows and over groups, and the median absolute deviation.

use std::cmp::Ordering;

use pyo3::PyResult;

use super::grid::{Span, WindowFn};
use super::groups::Groups;
use super::matrix::{Matrix, MatrixIn, filled};

/// Numeric order with NaN lowest.
fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b)
        .unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Sets up to this size are sorted stably: it costs no more, and 0 and -0 stay in order, whose sign shows in a result.
const STABLE_MAX: usize = 20;

/// The values at rank `at` and the one after; the last one twice. `values` is reordered.
fn neighbours(values: &mut [f64], at: usize) -> (f64, f64) {
    if values.len() <= STABLE_MAX {
        values.sort_by(nan_first);
        return (values[at], values[(at + 1).min(values.len() - 1)]);
    }
    let (_, &mut lower, above) = values.select_nth_unstable_by(at, nan_first);
    let upper = above.iter().copied().min_by(nan_first);
    (lower, upper.unwrap_or(lower))
}

/// Linear interpolation between the two values around rank q * (n - 1). `values` is reordered.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    let weight = rank - rank.floor();
    let below = (rank.floor() as usize).min(values.len() - 1);
    let (lower, upper) = neighbours(values, below);
    lower * (1.0 - weight) + upper * weight
}

/// Median distance from the median; NaN when any value is.
pub fn median_deviation(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    let median = quantile(0.5, scratch);
    scratch.clear();
    scratch.extend(values.iter().map(|v| (v - median).abs()));
    quantile(0.5, scratch)
}

/// quantile_over_time, with a q for each step.
pub struct WindowQuantile<'a> {
    pub q: &'a [f64],
    pub scratch: Vec<f64>,
}

impl WindowFn for WindowQuantile<'_> {
    const SPAN_ONLY: bool = false;

    fn eval(&mut self, _ts: &[i64], values: &[f64], span: Span, step: usize) -> Option<f64> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&values[span.lo..span.hi]);
        Some(quantile(self.q[step], &mut self.scratch))
    }
}

/// Steps gathered together, so that a row's cache line is read once for all of them.
const STEPS_AT_ONCE: usize = 8;

/// The quantile of each group at each step; a group without values at a step gives nothing.
pub fn group_quantile(q: &[f64], groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<Matrix> {
    let mut out = Matrix::new(groups.count, input.cols)?;
    let members = groups.members()?;
    let mut columns: [Vec<f64>; STEPS_AT_ONCE] = Default::default();
    for column in &mut columns {
        *column = filled(members.widest(), 0.0)?;
    }
    for group in 0..groups.count {
        let (out_values, out_mask) = out.row_mut(group);
        for first in (0..input.cols).step_by(STEPS_AT_ONCE) {
            let steps = first..(first + STEPS_AT_ONCE).min(input.cols);
            columns.iter_mut().for_each(Vec::clear);
            for &row in members.of(group) {
                let (values, mask) = input.row(row);
                for (column, step) in columns.iter_mut().zip(steps.clone()) {
                    if mask[step] {
                        column.push(values[step]);
                    }
                }
            }
            for (column, step) in columns.iter_mut().zip(steps) {
                if !column.is_empty() {
                    out_values[step] = quantile(q[step], column);
                    out_mask[step] = true;
                }
            }
        }
    }
    Ok(out)
}
