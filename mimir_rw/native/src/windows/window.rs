//! The Python face of the window functions: one entry, dispatched on PromQL's function name.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::columns::SampleColumns;
use super::grid::{Grid, WindowFn, run_windows};
use super::matrix::{Matrix, PyMatrix};
use super::over_time::{Extreme, Plain, Transitions, avg, sum, time_s, variance};
use super::rate::{Extrapolated, LastTwo, extrapolated};

/// One call's geometry.
struct Call<'a> {
    cols: &'a SampleColumns,
    grid: Grid,
    range: i64,
}

impl Call<'_> {
    fn run(&self, mut f: impl WindowFn) -> PyResult<Matrix> {
        let mut out = Matrix::new(self.cols.rows(), self.grid.steps)?;
        run_windows(self.cols, self.grid, self.range, &mut f, &mut out);
        Ok(out)
    }

    fn values(&self, mut f: impl FnMut(&[f64]) -> f64) -> PyResult<Matrix> {
        self.run(Plain(|_: &[i64], values: &[f64]| Some(f(values))))
    }

    fn times(&self, f: impl Fn(&[i64]) -> i64) -> PyResult<Matrix> {
        self.run(Plain(|ts: &[i64], _: &[f64]| Some(time_s(f(ts)))))
    }

    fn extrapolated(&self, kind: Extrapolated) -> PyResult<Matrix> {
        extrapolated(self.cols, self.grid, self.range, kind)
    }
}

fn evaluate(call: &Call<'_>, func: &str) -> PyResult<Matrix> {
    match func {
        "rate" => call.extrapolated(Extrapolated::Rate),
        "increase" => call.extrapolated(Extrapolated::Increase),
        "delta" => call.extrapolated(Extrapolated::Delta),
        "irate" => call.run(LastTwo::<true>),
        "idelta" => call.run(LastTwo::<false>),
        "count_over_time" => call.values(|v| v.len() as f64),
        "present_over_time" => call.values(|_| 1.0),
        "first_over_time" => call.values(|v| v[0]),
        "last_over_time" => call.values(|v| v[v.len() - 1]),
        "sum_over_time" => call.values(sum),
        "avg_over_time" => call.values(avg),
        "stdvar_over_time" => call.values(variance),
        "stddev_over_time" => call.values(|v| variance(v).sqrt()),
        "min_over_time" => call.run(Extreme::<_, false>::new(|a, b| a < b)),
        "max_over_time" => call.run(Extreme::<_, false>::new(|a, b| a > b)),
        "ts_of_min_over_time" => call.run(Extreme::<_, true>::new(|a, b| a <= b)),
        "ts_of_max_over_time" => call.run(Extreme::<_, true>::new(|a, b| a >= b)),
        "ts_of_first_over_time" => call.times(|ts| ts[0]),
        "ts_of_last_over_time" => call.times(|ts| ts[ts.len() - 1]),
        "changes" => call.run(Transitions::new(|a: f64, b: f64| {
            a != b && !(a.is_nan() && b.is_nan())
        })),
        "resets" => call.run(Transitions::new(|a, b| b < a)),
        _ => Err(PyValueError::new_err(format!(
            "no window function {func:?}"
        ))),
    }
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn window<'py>(
    py: Python<'py>,
    func: &str,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    range_ms: i64,
) -> PyResult<PyMatrix<'py>> {
    if range_ms <= 0 {
        return Err(PyValueError::new_err("range_ms must be positive"));
    }
    let call = Call {
        cols,
        grid: Grid::new(start_ms, step_ms, steps)?,
        range: range_ms,
    };
    py.detach(|| evaluate(&call, func))?.into_py(py)
}
