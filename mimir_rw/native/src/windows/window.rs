//! The Python face of the window functions: one entry, dispatched on PromQL's function name.

use std::borrow::Cow;

use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::columns::SampleColumns;
use super::grid::{Grid, WindowFn, run_windows};
use super::lanes::{Avg, LaneFn, Sum, Variance, run_lanes};
use super::matrix::{Matrix, PyMatrix, dense1};
use super::over_time::{Extreme, Plain, Transitions, time_s};
use super::quantile::{WindowQuantile, median_deviation};
use super::rate::{Extrapolated, LastTwo, extrapolated};
use super::regression::{PredictLinear, Smoothing, deriv};

/// One call's geometry, and its parameters: each a column with a value for every step.
pub struct Call<'a> {
    pub cols: &'a SampleColumns,
    pub grid: Grid,
    pub range: i64,
    params: &'a [Cow<'a, [f64]>],
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

    fn lanes<F: LaneFn>(&self) -> PyResult<Matrix> {
        let mut out = Matrix::new(self.cols.rows(), self.grid.steps)?;
        run_lanes::<F>(self.cols, self.grid, self.range, &mut out);
        Ok(out)
    }

    fn extrapolated(&self, kind: Extrapolated) -> PyResult<Matrix> {
        extrapolated(self.cols, self.grid, self.range, kind)
    }
}

/// The results for the floats of the rows.
pub fn evaluate(call: &Call<'_>, func: &str) -> PyResult<Matrix> {
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
        "sum_over_time" => call.lanes::<Sum>(),
        "avg_over_time" => call.lanes::<Avg>(),
        "stdvar_over_time" => call.lanes::<Variance<false>>(),
        "stddev_over_time" => call.lanes::<Variance<true>>(),
        "min_over_time" => call.run(Extreme::<_, false>::new(|a, b| a < b)),
        "max_over_time" => call.run(Extreme::<_, false>::new(|a, b| a > b)),
        "ts_of_min_over_time" => call.run(Extreme::<_, true>::new(|a, b| a <= b)),
        "ts_of_max_over_time" => call.run(Extreme::<_, true>::new(|a, b| a >= b)),
        "ts_of_first_over_time" => call.times(|ts| ts[0]),
        "ts_of_last_over_time" => call.times(|ts| ts[ts.len() - 1]),
        "mad_over_time" => {
            let mut scratch = Vec::new();
            call.values(|v| median_deviation(v, &mut scratch))
        }
        "deriv" => call.run(Plain(deriv)),
        "quantile_over_time" => call.run(WindowQuantile {
            q: &call.params[0],
            scratch: Vec::new(),
        }),
        "predict_linear" => call.run(PredictLinear {
            seconds: &call.params[0],
            origin_ms: &call.params[1],
        }),
        "double_exponential_smoothing" => call.run(Smoothing {
            smoothing: &call.params[0],
            trend: &call.params[1],
        }),
        "changes" => call.run(Transitions::new(|a: f64, b: f64| {
            a != b && !(a.is_nan() && b.is_nan())
        })),
        "resets" => call.run(Transitions::new(|a, b| b < a)),
        _ => Err(PyValueError::new_err(format!(
            "no window function {func:?}"
        ))),
    }
}

fn param_count(func: &str) -> usize {
    match func {
        "quantile_over_time" => 1,
        "predict_linear" | "double_exponential_smoothing" => 2,
        _ => 0,
    }
}

/// times: start, step, steps. Raises ValueError for what does not fit.
pub fn checked_call<'a>(
    func: &str,
    cols: &'a SampleColumns,
    times: (i64, i64, usize),
    range: i64,
    params: &'a [Cow<'a, [f64]>],
) -> PyResult<Call<'a>> {
    if range <= 0 {
        return Err(PyValueError::new_err("range_ms must be positive"));
    }
    if params.len() != param_count(func) {
        return Err(PyValueError::new_err(format!(
            "{func} takes {} parameters",
            param_count(func)
        )));
    }
    let (start, step, steps) = times;
    if params.iter().any(|p| p.len() != steps) {
        return Err(PyValueError::new_err(
            "a parameter needs one value per step",
        ));
    }
    Ok(Call {
        cols,
        grid: Grid::new(start, step, steps)?,
        range,
        params,
    })
}

#[pyfunction]
#[pyo3(signature = (func, cols, start_ms, step_ms, steps, range_ms, params = Vec::new()))]
#[allow(clippy::too_many_arguments)]
pub fn window<'py>(
    py: Python<'py>,
    func: &str,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    range_ms: i64,
    params: Vec<PyReadonlyArray1<'py, f64>>,
) -> PyResult<PyMatrix<'py>> {
    let params: Vec<Cow<'_, [f64]>> = params.iter().map(dense1).collect();
    let call = checked_call(func, cols, (start_ms, step_ms, steps), range_ms, &params)?;
    py.detach(|| evaluate(&call, func))?.into_py(py)
}
