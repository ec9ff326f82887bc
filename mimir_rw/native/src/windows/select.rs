//! Instant selection: the newest sample of each row within the lookback.

use pyo3::prelude::*;

use super::columns::SampleColumns;
use super::grid::Grid;
use super::is_stale;
use super::matrix::{Matrix, PyMatrix};

/// For every step t, `pick(ts, value)` of the newest sample with t - lookback < ts <= t; nothing when that sample
/// is a stale marker.
pub fn select(
    cols: &SampleColumns,
    grid: Grid,
    lookback: i64,
    pick: impl Fn(i64, f64) -> f64,
) -> PyResult<Matrix> {
    let mut out = Matrix::new(cols.rows(), grid.steps)?;
    for row in 0..cols.rows() {
        let (ts, values) = cols.row(row);
        let (out_values, out_mask) = out.row_mut(row);
        let mut next = 0;
        for step in 0..grid.steps {
            let t = grid.at(step);
            while next < ts.len() && ts[next] <= t {
                next += 1;
            }
            if next == 0 || ts[next - 1] <= t.saturating_sub(lookback) || is_stale(values[next - 1])
            {
                continue;
            }
            out_values[step] = pick(ts[next - 1], values[next - 1]);
            out_mask[step] = true;
        }
    }
    Ok(out)
}

#[pyfunction]
pub fn select_instant<'py>(
    py: Python<'py>,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    lookback_ms: i64,
) -> PyResult<PyMatrix<'py>> {
    let grid = Grid::new(start_ms, step_ms, steps)?;
    py.detach(|| select(cols, grid, lookback_ms, |_, v| v))?
        .into_py(py)
}

#[pyfunction]
pub fn select_instant_times<'py>(
    py: Python<'py>,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    lookback_ms: i64,
) -> PyResult<PyMatrix<'py>> {
    let grid = Grid::new(start_ms, step_ms, steps)?;
    py.detach(|| select(cols, grid, lookback_ms, |t, _| t as f64 / 1000.0))?
        .into_py(py)
}
