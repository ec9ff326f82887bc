//! Aggregations of matrix rows by group: sum, avg, min, max, count, group, stddev, stdvar.
//!
//! One pass over the rows in input order, which is the order the sums are defined in; the state of a group is a row
//! of cells, one per step. Inner loops run over slices without branches.

use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::groups::Groups;
use super::matrix::{Matrix, MatrixIn, PyMatrix, cells, dense1, filled};
use super::quantile::group_quantile;
use super::sum::Mean;

/// Compensated sums and counts of all cells.
struct Sums {
    sum: Vec<f64>,
    c: Vec<f64>,
    count: Vec<f64>,
}

/// Add up all rows. Overflow leaves a sum that is not finite; its `c` means nothing.
fn add_up(groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<Sums> {
    let n = cells(groups.count, input.cols)?;
    let mut sums = Sums {
        sum: filled(n, 0.0)?,
        c: filled(n, 0.0)?,
        count: filled(n, 0.0)?,
    };
    for (row, group) in groups.rows() {
        let (values, mask) = input.row(row);
        let range = group * input.cols..(group + 1) * input.cols;
        let (sum, c) = (&mut sums.sum[range.clone()], &mut sums.c[range.clone()]);
        let count = &mut sums.count[range];
        for i in 0..input.cols {
            // Adding +0 to a sum that started as +0 changes nothing.
            let x = if mask[i] { values[i] } else { 0.0 };
            count[i] += if mask[i] { 1.0 } else { 0.0 };
            let t = sum[i] + x;
            let large = (sum[i] - t) + x;
            let small = (x - t) + sum[i];
            c[i] += if sum[i].abs() >= x.abs() {
                large
            } else {
                small
            };
            sum[i] = t;
        }
    }
    Ok(sums)
}

fn present(count: &[f64]) -> PyResult<Vec<bool>> {
    let mut mask = filled(count.len(), false)?;
    for (m, &n) in mask.iter_mut().zip(count) {
        *m = n > 0.0;
    }
    Ok(mask)
}

fn sum(groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<Matrix> {
    let Sums { mut sum, c, count } = add_up(groups, input)?;
    for (s, c) in sum.iter_mut().zip(c) {
        // A sum that has been infinite has a compensation of 0, or is NaN by now.
        *s += if s.is_finite() { c } else { 0.0 };
    }
    Ok(Matrix {
        rows: groups.count,
        cols: input.cols,
        values: sum,
        mask: present(&count)?,
    })
}

fn avg(groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<Matrix> {
    let Sums { mut sum, c, count } = add_up(groups, input)?;
    let mut overflowed = false;
    for ((s, c), &n) in sum.iter_mut().zip(c).zip(&count) {
        overflowed |= !s.is_finite();
        let n = n.max(1.0);
        *s = if s.is_finite() { *s / n + c / n } else { *s };
    }
    if overflowed {
        mean_again(groups, input, &mut sum)?;
    }
    Ok(Matrix {
        rows: groups.count,
        cols: input.cols,
        values: sum,
        mask: present(&count)?,
    })
}

/// Replace every cell that is not finite with a mean that cannot overflow.
fn mean_again(groups: &Groups<'_>, input: &MatrixIn<'_>, cells: &mut [f64]) -> PyResult<()> {
    let mut slot = filled(cells.len(), usize::MAX)?;
    let mut means: Vec<Mean> = Vec::new();
    for (slot, value) in slot.iter_mut().zip(&*cells) {
        if !value.is_finite() {
            *slot = means.len();
            means.push(Mean::default());
        }
    }
    for (row, group) in groups.rows() {
        let (values, mask) = input.row(row);
        for step in 0..input.cols {
            if let (true, Some(mean)) = (mask[step], means.get_mut(slot[group * input.cols + step]))
            {
                mean.add(values[step]);
            }
        }
    }
    for (value, &slot) in cells.iter_mut().zip(&slot) {
        if let Some(mean) = means.get(slot) {
            *value = mean.result();
        }
    }
    Ok(())
}

/// The value that no other beats; NaN only where there is nothing else.
fn extreme(
    groups: &Groups<'_>,
    input: &MatrixIn<'_>,
    beats: impl Fn(f64, f64) -> bool,
) -> PyResult<Matrix> {
    let mut out = Matrix::new(groups.count, input.cols)?;
    out.values.fill(f64::NAN);
    for (row, group) in groups.rows() {
        let (values, mask) = input.row(row);
        let (best, seen) = out.row_mut(group);
        for i in 0..input.cols {
            let take = mask[i] & (beats(values[i], best[i]) | best[i].is_nan());
            best[i] = if take { values[i] } else { best[i] };
            seen[i] |= mask[i];
        }
    }
    for (value, &seen) in out.values.iter_mut().zip(&out.mask) {
        *value = if seen { *value } else { 0.0 };
    }
    Ok(out)
}

fn count(groups: &Groups<'_>, input: &MatrixIn<'_>, ones: bool) -> PyResult<Matrix> {
    let mut out = Matrix::new(groups.count, input.cols)?;
    for (row, group) in groups.rows() {
        let (_, mask) = input.row(row);
        let (total, seen) = out.row_mut(group);
        for i in 0..input.cols {
            let one = if mask[i] { 1.0 } else { 0.0 };
            total[i] = if ones {
                f64::max(total[i], one)
            } else {
                total[i] + one
            };
            seen[i] |= mask[i];
        }
    }
    Ok(out)
}

/// Population variance by Welford's recurrence; NaN when the first value is not finite.
fn variance(groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<Matrix> {
    let mut out = Matrix::new(groups.count, input.cols)?;
    let n = cells(groups.count, input.cols)?;
    let (mut mean, mut count) = (filled(n, 0.0)?, filled(n, 0.0)?);
    for (row, group) in groups.rows() {
        let (values, mask) = input.row(row);
        let range = group * input.cols..(group + 1) * input.cols;
        let (mean, count) = (&mut mean[range.clone()], &mut count[range]);
        let (aux, seen) = out.row_mut(group);
        for i in 0..input.cols {
            let x = values[i];
            let grown = count[i] + 1.0;
            let first = count[i] == 0.0;
            let delta = x - mean[i];
            let moved = if first { x } else { mean[i] + delta / grown };
            let start = if x.is_finite() { 0.0 } else { f64::NAN };
            let next = if first {
                start
            } else {
                aux[i] + delta * (x - moved)
            };
            mean[i] = if mask[i] { moved } else { mean[i] };
            aux[i] = if mask[i] { next } else { aux[i] };
            count[i] = if mask[i] { grown } else { count[i] };
            seen[i] |= mask[i];
        }
    }
    for (aux, n) in out.values.iter_mut().zip(count) {
        *aux /= f64::max(n, 1.0);
    }
    Ok(out)
}

fn evaluate(op: &str, groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<Matrix> {
    match op {
        "sum" => sum(groups, input),
        "avg" => avg(groups, input),
        "min" => extreme(groups, input, |a, b| a < b),
        "max" => extreme(groups, input, |a, b| a > b),
        "count" => count(groups, input, false),
        "group" => count(groups, input, true),
        "stdvar" => variance(groups, input),
        "stddev" => {
            let mut out = variance(groups, input)?;
            out.values.iter_mut().for_each(|v| *v = v.sqrt());
            Ok(out)
        }
        _ => Err(PyValueError::new_err(format!("no aggregation {op:?}"))),
    }
}

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
    py.detach(|| evaluate(op, &groups, &input))?.into_py(py)
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
