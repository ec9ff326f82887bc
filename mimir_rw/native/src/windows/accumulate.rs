//! Aggregations that take their rows batch after batch: the state of a group is a row of cells, one per step.
//!
//! Rows are taken in input order, which is the order the sums are defined in: how they are cut into batches does not
//! change a bit of the result. Inner loops run over slices without branches.

use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

use super::groups::Groups;
use super::matrix::{Matrix, MatrixIn, PyMatrix, cells, dense1};
use super::sum::{Compensated, Mean};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
}

impl Op {
    fn parse(name: &str) -> PyResult<Self> {
        Ok(match name {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => Self::Count,
            "group" => Self::Group,
            "stddev" => Self::Stddev,
            "stdvar" => Self::Stdvar,
            _ => return Err(PyValueError::new_err(format!("no aggregation {name:?}"))),
        })
    }

    fn is_variance(self) -> bool {
        matches!(self, Self::Stddev | Self::Stdvar)
    }

    fn is_mean(self) -> bool {
        matches!(self, Self::Sum | Self::Avg)
    }

    /// The value of a cell that has seen nothing.
    fn start(self) -> f64 {
        match self {
            Self::Min | Self::Max => f64::NAN,
            _ => 0.0,
        }
    }
}

/// Column by column: what `values` is depends on the operation (sum, best value, count, squared distances); `second`
/// is the compensation of a sum or the running mean of a variance. Both it and `count` are empty where they have no use.
pub struct Accumulated {
    op: Op,
    cols: usize,
    groups: usize,
    values: Vec<f64>,
    second: Vec<f64>,
    count: Vec<f64>,
    seen: Vec<bool>,
    /// Groups of an average of which some sum would have overflowed, and which of their cells are means by now.
    careful: Vec<Option<Box<[bool]>>>,
}

fn grow<T: Clone>(column: &mut Vec<T>, len: usize, fill: T) -> PyResult<()> {
    column
        .try_reserve_exact(len - column.len())
        .map_err(|_| PyMemoryError::new_err("result too large"))?;
    column.resize(len, fill);
    Ok(())
}

impl Accumulated {
    /// Raises ValueError for another name.
    pub fn new(op: &str, cols: usize) -> PyResult<Self> {
        Ok(Self {
            op: Op::parse(op)?,
            cols,
            groups: 0,
            values: Vec::new(),
            second: Vec::new(),
            count: Vec::new(),
            seen: Vec::new(),
            careful: Vec::new(),
        })
    }

    /// Make room for more groups; there are never fewer.
    fn grow(&mut self, groups: usize) -> PyResult<()> {
        if groups <= self.groups {
            return Ok(());
        }
        let n = cells(groups, self.cols)?;
        grow(&mut self.values, n, self.op.start())?;
        if self.op.is_mean() || self.op.is_variance() {
            grow(&mut self.second, n, 0.0)?;
            grow(&mut self.count, n, 0.0)?;
        } else {
            grow(&mut self.seen, n, false)?;
        }
        self.careful.resize(groups, None);
        self.groups = groups;
        Ok(())
    }

    pub fn add(&mut self, groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<()> {
        if input.cols != self.cols {
            return Err(PyValueError::new_err("rows of another number of steps"));
        }
        self.grow(groups.count)?;
        for (row, group) in groups.rows() {
            let (values, mask) = input.row(row);
            match self.op {
                Op::Sum => self.add_to_sum(group, values, mask),
                Op::Avg => self.add_to_mean(group, values, mask),
                Op::Min => self.offer(group, values, mask, |a, b| a < b),
                Op::Max => self.offer(group, values, mask, |a, b| a > b),
                Op::Count => self.count(group, mask, |total, one| total + one),
                Op::Group => self.count(group, mask, f64::max),
                Op::Stddev | Op::Stdvar => self.add_to_variance(group, values, mask),
            }
        }
        Ok(())
    }

    /// Overflow leaves a sum that is not finite; its compensation means nothing then.
    fn add_to_sum(&mut self, group: usize, values: &[f64], mask: &[bool]) {
        let range = group * self.cols..(group + 1) * self.cols;
        let sum = &mut self.values[range.clone()];
        let c = &mut self.second[range.clone()];
        let count = &mut self.count[range];
        let n = sum.len();
        let (c, count, values, mask) = (&mut c[..n], &mut count[..n], &values[..n], &mask[..n]);
        for i in 0..n {
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

    /// A sum, until one would overflow; from there on the group goes cell by cell.
    fn add_to_mean(&mut self, group: usize, values: &[f64], mask: &[bool]) {
        let range = group * self.cols..(group + 1) * self.cols;
        if self.careful[group].is_none() {
            let mut overflow = false;
            for ((sum, &x), &present) in self.values[range.clone()].iter().zip(values).zip(mask) {
                overflow |= present & (sum + x).is_infinite();
            }
            if !overflow {
                return self.add_to_sum(group, values, mask);
            }
        }
        let cols = self.cols;
        let incremental = self.careful[group].get_or_insert_with(|| vec![false; cols].into());
        for (i, cell) in range.enumerate() {
            if !mask[i] {
                continue;
            }
            let acc = Compensated {
                sum: self.values[cell],
                c: self.second[cell],
            };
            let mut mean = Mean::resume(acc, self.count[cell], incremental[i]);
            mean.add(values[i]);
            (self.values[cell], self.second[cell]) = (mean.sum().sum, mean.sum().c);
            self.count[cell] += 1.0;
            incremental[i] = mean.is_incremental();
        }
    }

    /// Keep the value that no other beats; NaN only where there is nothing else.
    fn offer(
        &mut self,
        group: usize,
        values: &[f64],
        mask: &[bool],
        beats: impl Fn(f64, f64) -> bool,
    ) {
        let range = group * self.cols..(group + 1) * self.cols;
        let best = &mut self.values[range.clone()];
        let seen = &mut self.seen[range];
        for i in 0..best.len() {
            let take = mask[i] & (beats(values[i], best[i]) | best[i].is_nan());
            best[i] = if take { values[i] } else { best[i] };
            seen[i] |= mask[i];
        }
    }

    fn count(&mut self, group: usize, mask: &[bool], join: impl Fn(f64, f64) -> f64) {
        let range = group * self.cols..(group + 1) * self.cols;
        let total = &mut self.values[range.clone()];
        let seen = &mut self.seen[range];
        for i in 0..total.len() {
            total[i] = join(total[i], if mask[i] { 1.0 } else { 0.0 });
            seen[i] |= mask[i];
        }
    }

    /// Welford's recurrence; NaN when the first value is not finite.
    fn add_to_variance(&mut self, group: usize, values: &[f64], mask: &[bool]) {
        let range = group * self.cols..(group + 1) * self.cols;
        let aux = &mut self.values[range.clone()];
        let mean = &mut self.second[range.clone()];
        let count = &mut self.count[range];
        for i in 0..aux.len() {
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
        }
    }

    /// The state is gone afterwards.
    pub fn finish(&mut self) -> PyResult<Matrix> {
        match self.op {
            Op::Sum => self.finish_sum(),
            Op::Avg => self.finish_mean(),
            Op::Min | Op::Max => {
                for (value, &seen) in self.values.iter_mut().zip(&self.seen) {
                    *value = if seen { *value } else { 0.0 };
                }
            }
            Op::Count | Op::Group => {}
            Op::Stddev | Op::Stdvar => {
                let root = self.op == Op::Stddev;
                for (aux, &n) in self.values.iter_mut().zip(&self.count) {
                    *aux /= f64::max(n, 1.0);
                    *aux = if root { aux.sqrt() } else { *aux };
                }
            }
        }
        self.second = Vec::new();
        if self.op.is_mean() || self.op.is_variance() {
            grow(&mut self.seen, self.values.len(), false)?;
            for (seen, &n) in self.seen.iter_mut().zip(&self.count) {
                *seen = n > 0.0;
            }
        }
        self.count = Vec::new();
        Ok(Matrix {
            rows: std::mem::take(&mut self.groups),
            cols: self.cols,
            values: std::mem::take(&mut self.values),
            mask: std::mem::take(&mut self.seen),
        })
    }

    fn finish_sum(&mut self) {
        for (s, &c) in self.values.iter_mut().zip(&self.second) {
            // A sum that has been infinite has a compensation of 0, or is NaN by now.
            *s += if s.is_finite() { c } else { 0.0 };
        }
    }

    fn finish_mean(&mut self) {
        for (group, careful) in self.careful.iter().enumerate() {
            let start = group * self.cols;
            for i in 0..self.cols {
                let cell = start + i;
                let incremental = careful.as_ref().is_some_and(|means| means[i]);
                let n = if incremental {
                    1.0
                } else {
                    f64::max(self.count[cell], 1.0)
                };
                self.values[cell] = self.values[cell] / n + self.second[cell] / n;
            }
        }
    }

    fn nbytes(&self) -> usize {
        8 * (self.values.capacity() + self.second.capacity() + self.count.capacity())
            + self.seen.capacity()
    }
}

/// `aggregate` for rows that come in batches.
#[pyclass(module = "mimir_rw._native")]
pub struct Accumulator {
    state: Accumulated,
}

#[pymethods]
impl Accumulator {
    #[new]
    fn py_new(op: &str, steps: usize) -> PyResult<Self> {
        Ok(Self {
            state: Accumulated::new(op, steps)?,
        })
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.state.nbytes()
    }

    fn add(
        &mut self,
        py: Python<'_>,
        groups: PyReadonlyArray1<'_, i64>,
        group_count: usize,
        values: PyReadonlyArray2<'_, f64>,
        mask: PyReadonlyArray2<'_, bool>,
    ) -> PyResult<()> {
        let input = MatrixIn::new(&values, &mask)?;
        let ids = dense1(&groups);
        let groups = Groups::new(&ids, group_count, input.rows)?;
        let state = &mut self.state;
        py.detach(|| state.add(&groups, &input))
    }

    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<PyMatrix<'py>> {
        let state = &mut self.state;
        py.detach(|| state.finish())?.into_py(py)
    }
}
