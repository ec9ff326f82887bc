//! `anchored` and `smoothed` selectors: windows that look beyond their bounds instead of extrapolating.
//!
//! A window is [S, E]. An anchored one begins with the last sample at or before S (the anchor) and ends with the last
//! sample at or before E. A smoothed one begins and ends with values interpolated at S and E, for which it may use the
//! next sample after E. Samples further than the lookback outside the window are not seen. Where there is no sample
//! on the far side of a bound, the nearest one inside stands for it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::columns::SampleColumns;
use super::grid::{Grid, LiveRow};
use super::matrix::{Matrix, PyMatrix};
use super::rate::Extrapolated;

/// One call's geometry, in ms.
pub struct Geometry {
    pub grid: Grid,
    pub range: i64,
    pub lookback: i64,
    pub smoothed: bool,
}

/// Raises ValueError for a range that is not positive.
pub fn checked_geometry(
    grid: Grid,
    range: i64,
    lookback: i64,
    smoothed: bool,
) -> PyResult<Geometry> {
    if range <= 0 {
        return Err(PyValueError::new_err("range_ms must be positive"));
    }
    Ok(Geometry {
        grid,
        range,
        lookback,
        smoothed,
    })
}

/// The samples that one window uses: all it may see, the first and last of them that count, and its bounds.
struct Window<'a> {
    ts: &'a [i64],
    values: &'a [f64],
    start: i64,
    end: i64,
}

/// A line from sample a to sample b at time t. A counter that fell has started again from 0.
pub fn interpolate(a: (i64, f64), b: (i64, f64), t: i64, counter: bool) -> f64 {
    let from = if counter && b.1 < a.1 { 0.0 } else { a.1 };
    from + (b.1 - from) * (t - a.0) as f64 / (b.0 - a.0) as f64
}

impl<'a> Window<'a> {
    /// None where the series has nothing to say about the window.
    fn cut(ts: &'a [i64], values: &'a [f64], start: i64, end: i64, smoothed: bool) -> Option<Self> {
        let before = ts.partition_point(|&t| t <= start);
        let first = before.saturating_sub(1);
        let last = if smoothed {
            ts.partition_point(|&t| t < end)
                .min(ts.len().checked_sub(1)?)
        } else {
            ts.len().checked_sub(1)?
        };
        if ts[last] <= start || smoothed && ts[first] > end {
            return None;
        }
        Some(Self {
            ts: &ts[first..=last],
            values: &values[first..=last],
            start,
            end,
        })
    }

    fn sample(&self, i: usize) -> (i64, f64) {
        (self.ts[i], self.values[i])
    }

    /// Values at the bounds.
    fn bounds(&self, smoothed: bool, counter: bool) -> (f64, f64) {
        let last = self.ts.len() - 1;
        let (mut left, mut right) = (self.values[0], self.values[last]);
        if smoothed && last > 0 {
            if self.ts[0] < self.start {
                left = interpolate(self.sample(0), self.sample(1), self.start, counter);
            }
            if self.ts[last] > self.end {
                right = interpolate(self.sample(last - 1), self.sample(last), self.end, counter);
            }
        }
        (left, right)
    }

    fn increase(&self, smoothed: bool, counter: bool) -> f64 {
        let (left, right) = self.bounds(smoothed, counter);
        if !counter {
            return right - left;
        }
        let (mut correction, mut previous) = (0.0, left);
        for (&t, &value) in self.ts.iter().zip(self.values) {
            if t > self.start && t < self.end {
                if value < previous {
                    correction += previous;
                }
                previous = value;
            }
        }
        if right < previous {
            correction += previous;
        }
        right - left + correction
    }

    fn transitions(&self, differs: impl Fn(f64, f64) -> bool) -> f64 {
        self.values
            .windows(2)
            .filter(|w| differs(w[0], w[1]))
            .count() as f64
    }
}

fn run(
    cols: &SampleColumns,
    geometry: &Geometry,
    f: impl Fn(&Window<'_>) -> f64,
) -> PyResult<Matrix> {
    let grid = geometry.grid;
    let ahead = if geometry.smoothed {
        geometry.lookback
    } else {
        0
    };
    let mut out = Matrix::new(cols.rows(), grid.steps)?;
    let mut live = LiveRow::default();
    for row in 0..cols.rows() {
        let (ts, values) = live.load(cols, row);
        let (out_values, out_mask) = out.row_mut(row);
        for step in 0..grid.steps {
            let end = grid.at(step);
            let start = end.saturating_sub(geometry.range);
            let lo = ts.partition_point(|&t| t <= start.saturating_sub(geometry.lookback));
            let hi = ts.partition_point(|&t| t <= end.saturating_add(ahead));
            if lo >= hi {
                continue;
            }
            let seen = (&ts[lo..hi], &values[lo..hi]);
            if let Some(window) = Window::cut(seen.0, seen.1, start, end, geometry.smoothed) {
                out_values[step] = f(&window);
                out_mask[step] = true;
            }
        }
    }
    Ok(out)
}

/// The results for the floats of the rows.
pub fn evaluate(cols: &SampleColumns, geometry: &Geometry, func: &str) -> PyResult<Matrix> {
    let smoothed = geometry.smoothed;
    let kind = match func {
        "rate" => Extrapolated::Rate,
        "increase" => Extrapolated::Increase,
        "delta" => Extrapolated::Delta,
        "changes" if !smoothed => {
            return run(cols, geometry, |w| {
                w.transitions(|a, b| a != b && !(a.is_nan() && b.is_nan()))
            });
        }
        "resets" if !smoothed => {
            return run(cols, geometry, |w| w.transitions(|a, b| b < a));
        }
        _ => {
            return Err(PyValueError::new_err(format!(
                "no extended window function {func:?}"
            )));
        }
    };
    let counter = kind != Extrapolated::Delta;
    let seconds = if kind == Extrapolated::Rate {
        geometry.range as f64 / 1000.0
    } else {
        1.0
    };
    run(cols, geometry, |w| w.increase(smoothed, counter) / seconds)
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn window_extended<'py>(
    py: Python<'py>,
    func: &str,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    range_ms: i64,
    lookback_ms: i64,
    smoothed: bool,
) -> PyResult<PyMatrix<'py>> {
    let grid = Grid::new(start_ms, step_ms, steps)?;
    let geometry = checked_geometry(grid, range_ms, lookback_ms, smoothed)?;
    py.detach(|| evaluate(cols, &geometry, func))?.into_py(py)
}

/// The value at each step on the line between its neighbours; after the last sample within the lookback, that one's.
fn smooth(cols: &SampleColumns, grid: Grid, lookback: i64) -> PyResult<Matrix> {
    let mut out = Matrix::new(cols.rows(), grid.steps)?;
    let mut live = LiveRow::default();
    for row in 0..cols.rows() {
        let (ts, values) = live.load(cols, row);
        let (out_values, out_mask) = out.row_mut(row);
        for step in 0..grid.steps {
            let t = grid.at(step);
            let next = ts.partition_point(|&sample| sample <= t);
            if next == 0 || ts[next - 1] <= t.saturating_sub(lookback) {
                continue;
            }
            let before = (ts[next - 1], values[next - 1]);
            let has_next = next < ts.len() && ts[next] <= t.saturating_add(lookback);
            out_values[step] = if before.0 < t && has_next {
                interpolate(before, (ts[next], values[next]), t, false)
            } else {
                before.1
            };
            out_mask[step] = true;
        }
    }
    Ok(out)
}

#[pyfunction]
pub fn select_smoothed<'py>(
    py: Python<'py>,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    lookback_ms: i64,
) -> PyResult<PyMatrix<'py>> {
    let grid = Grid::new(start_ms, step_ms, steps)?;
    py.detach(|| smooth(cols, grid, lookback_ms))?.into_py(py)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 15_000;

    fn increase(values: &[f64], start: i64, end: i64, smoothed: bool) -> Option<f64> {
        let ts: Vec<i64> = (0..values.len() as i64).map(|i| i * STEP).collect();
        let cols = SampleColumns::from_vecs(vec![0, ts.len()], ts, values.to_vec()).expect("valid");
        let geometry = Geometry {
            grid: Grid::new(end, 0, 1).expect("valid"),
            range: end - start,
            lookback: 300_000,
            smoothed,
        };
        let out = evaluate(&cols, &geometry, "increase").expect("known function");
        out.mask[0].then_some(out.values[0])
    }

    #[test]
    fn an_anchor_replaces_extrapolation() {
        assert_eq!(increase(&[1.0, 2.0, 4.0], 10_000, 35_000, false), Some(3.0));
        assert_eq!(increase(&[1.0], 10_000, 35_000, false), None);
    }

    #[test]
    fn bounds_lie_on_the_line() {
        assert_eq!(increase(&[0.0, 3.0, 6.0], 5_000, 20_000, true), Some(3.0));
        assert_eq!(increase(&[0.0, 3.0], 20_000, 40_000, true), None);
    }

    #[test]
    fn a_reset_at_a_bound_counts_once() {
        // 100 falls to 10 within the window's interval: the counter rose from 0 to 10 over 15 s.
        let got = increase(&[100.0, 10.0], 2_000, 12_000, true).expect("a value");
        assert!((got - 10.0 * 10.0 / 15.0).abs() < 1e-12, "{got}");
        assert_eq!(increase(&[5.0, 3.0, 4.0], 0, 30_000, false), Some(4.0));
    }
}
