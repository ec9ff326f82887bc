//! Aggregations of matrix rows by group: sum, avg, min, max, count, group, stddev, stdvar; and quantiles.

use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::accumulate::Accumulated;
use super::groups::Groups;
use super::matrix::{MatrixIn, PyMatrix, dense1};
use super::quantile::group_quantile;

#[pyfunction]
pub fn aggregate<'py>(
    py: Python<'py>,
    op: &str,
    groups: PyReadonlyArray1<'py, i64>,
    group_count: usize,
    values: PyReadonlyArray2<'py, f64>,
    mask: PyReadonlyArray2<'py, bool>,
) -> PyResult<PyMatrix<'py>> {
    let input = MatrixIn::new(&values, &mask)?;
    let ids = dense1(&groups);
    let groups = Groups::new(&ids, group_count, input.rows)?;
    let mut state = Accumulated::new(op, input.cols)?;
    py.detach(|| {
        state.add(&groups, &input)?;
        state.finish()
    })?
    .into_py(py)
}

#[pyfunction]
pub fn aggregate_quantile<'py>(
    py: Python<'py>,
    q: PyReadonlyArray1<'py, f64>,
    groups: PyReadonlyArray1<'py, i64>,
    group_count: usize,
    values: PyReadonlyArray2<'py, f64>,
    mask: PyReadonlyArray2<'py, bool>,
) -> PyResult<PyMatrix<'py>> {
    let input = MatrixIn::new(&values, &mask)?;
    let (q, ids) = (dense1(&q), dense1(&groups));
    let groups = Groups::new(&ids, group_count, input.rows)?;
    if q.len() != input.cols {
        return Err(PyValueError::new_err("one q per step is needed"));
    }
    py.detach(|| group_quantile(&q, &groups, &input))?
        .into_py(py)
}
