//! Kernels over cells of histograms: a column and a matrix of numbers into it, -1 where there is none.
//!
//! Results are in the same form; neighbours of a row that come from equal input share one histogram. What an operation
//! met on its way (NaN among the observations, layouts that do not fit) is data: the caller makes annotations of it.

use std::borrow::Cow;
use std::sync::Arc;

use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

use super::arithmetic::Noted;
use super::moments::Moment;
use super::quantile::QuantileNote;
use super::trim::Keep;
use super::{FloatHistogram, HistogramColumn, ResetHint};
use crate::windows::matrix::{Matrix, PyMatrix, cells, dense1, dense2, filled, into_array2};

/// Cells of histograms, checked: every number is -1 or one of the column.
pub struct CellsIn<'a> {
    items: &'a [Arc<FloatHistogram>],
    index: Cow<'a, [i32]>,
    pub rows: usize,
    pub cols: usize,
}

impl<'a> CellsIn<'a> {
    pub fn new(
        column: &'a HistogramColumn,
        index: &'a PyReadonlyArray2<'_, i32>,
    ) -> PyResult<Self> {
        let (rows, cols) = (index.shape()[0], index.shape()[1]);
        let (items, index) = (column.items.as_slice(), dense2(index));
        let known = |&number: &i32| number < 0 || (number as usize) < items.len();
        if !index.iter().all(known) {
            return Err(PyValueError::new_err("a cell has an unknown histogram"));
        }
        Ok(Self {
            items,
            index,
            rows,
            cols,
        })
    }

    /// Numbers of a row's histograms, negative where there is none.
    pub fn row(&self, row: usize) -> &[i32] {
        &self.index[row * self.cols..(row + 1) * self.cols]
    }

    pub fn at(&self, number: i32) -> Option<&'a Arc<FloatHistogram>> {
        self.items.get(usize::try_from(number).ok()?)
    }

    pub fn same_shape(&self, other: (usize, usize), what: &str) -> PyResult<()> {
        if (self.rows, self.cols) != other {
            return Err(PyValueError::new_err(format!("{what} of another shape")));
        }
        Ok(())
    }
}

/// Cells under construction.
pub struct CellsOut {
    items: Vec<Arc<FloatHistogram>>,
    index: Vec<i32>,
    shape: (usize, usize),
}

pub type PyCells<'py> = (HistogramColumn, Bound<'py, PyArray2<i32>>);

impl CellsOut {
    pub fn new(rows: usize, cols: usize) -> PyResult<Self> {
        Ok(Self {
            items: Vec::new(),
            index: filled(cells(rows, cols)?, -1)?,
            shape: (rows, cols),
        })
    }

    /// Put a new histogram into a cell and return its number.
    pub fn put(&mut self, row: usize, step: usize, item: Arc<FloatHistogram>) -> PyResult<i32> {
        let number = i32::try_from(self.items.len())
            .map_err(|_| PyMemoryError::new_err("too many histograms"))?;
        self.items.push(item);
        self.put_again(row, step, number);
        Ok(number)
    }

    pub fn put_again(&mut self, row: usize, step: usize, number: i32) {
        self.index[row * self.shape.1 + step] = number;
    }

    pub fn into_py(self, py: Python<'_>) -> PyResult<PyCells<'_>> {
        let column = HistogramColumn { items: self.items };
        Ok((column, into_array2(py, self.shape, self.index)?))
    }
}

/// A float for every cell by `of(histogram, row, step)`; one result serves a run of cells with the same input.
/// `input(step)` says what, beside the histogram, that is.
fn floats<T: PartialEq>(
    cells: &CellsIn<'_>,
    input: impl Fn(usize) -> T,
    mut of: impl FnMut(&FloatHistogram, usize, usize) -> f64,
) -> PyResult<Matrix> {
    let mut out = Matrix::new(cells.rows, cells.cols)?;
    for row in 0..cells.rows {
        let (values, mask) = out.row_mut(row);
        let mut last: Option<(i32, T, f64)> = None;
        for (step, &number) in cells.row(row).iter().enumerate() {
            let Some(histogram) = cells.at(number) else {
                continue;
            };
            let input = input(step);
            let value = match &last {
                Some((same, before, value)) if *same == number && *before == input => *value,
                _ => of(histogram, row, step),
            };
            (values[step], mask[step]) = (value, true);
            last = Some((number, input, value));
        }
    }
    Ok(out)
}

#[pyfunction]
pub fn histogram_moment<'py>(
    py: Python<'py>,
    moment: &str,
    column: &Bound<'py, HistogramColumn>,
    index: PyReadonlyArray2<'py, i32>,
) -> PyResult<PyMatrix<'py>> {
    let moment = Moment::parse(moment)
        .ok_or_else(|| PyValueError::new_err(format!("no moment {moment:?}")))?;
    let cells = CellsIn::new(column.get(), &index)?;
    py.detach(|| floats(&cells, |_| (), |h, _, _| moment.of(h)))?
        .into_py(py)
}

fn one_per_step(steps: usize, params: &[usize]) -> PyResult<()> {
    if params.iter().any(|&n| n != steps) {
        return Err(PyValueError::new_err(
            "a parameter needs one value per step",
        ));
    }
    Ok(())
}

pub type PyFlags<'py> = Bound<'py, PyArray1<bool>>;

#[pyfunction]
pub fn native_quantile<'py>(
    py: Python<'py>,
    q: PyReadonlyArray1<'py, f64>,
    column: &Bound<'py, HistogramColumn>,
    index: PyReadonlyArray2<'py, i32>,
) -> PyResult<(PyMatrix<'py>, PyFlags<'py>, PyFlags<'py>)> {
    let cells = CellsIn::new(column.get(), &index)?;
    let q = dense1(&q);
    one_per_step(cells.cols, &[q.len()])?;
    let mut nan = filled(cells.rows, false)?;
    let mut skewed = filled(cells.rows, false)?;
    let matrix = py.detach(|| {
        floats(
            &cells,
            |step| q[step].to_bits(),
            |h, row, step| {
                let (value, note) = h.quantile(q[step]);
                match note {
                    Some(QuantileNote::Nan) => nan[row] = true,
                    Some(QuantileNote::Skewed) => skewed[row] = true,
                    None => {}
                }
                value
            },
        )
    })?;
    let matrix = matrix.into_py(py)?;
    Ok((matrix, nan.into_pyarray(py), skewed.into_pyarray(py)))
}

#[pyfunction]
pub fn native_fraction<'py>(
    py: Python<'py>,
    lower: PyReadonlyArray1<'py, f64>,
    upper: PyReadonlyArray1<'py, f64>,
    column: &Bound<'py, HistogramColumn>,
    index: PyReadonlyArray2<'py, i32>,
) -> PyResult<(PyMatrix<'py>, PyFlags<'py>)> {
    let cells = CellsIn::new(column.get(), &index)?;
    let (lower, upper) = (dense1(&lower), dense1(&upper));
    one_per_step(cells.cols, &[lower.len(), upper.len()])?;
    let mut excluded = filled(cells.rows, false)?;
    let matrix = py.detach(|| {
        floats(
            &cells,
            |step| (lower[step].to_bits(), upper[step].to_bits()),
            |h, row, step| {
                let (value, without_nan) = h.fraction(lower[step], upper[step]);
                excluded[row] |= without_nan;
                value
            },
        )
    })?;
    Ok((matrix.into_py(py)?, excluded.into_pyarray(py)))
}

/// An operation between a histogram and a number.
#[derive(Clone, Copy)]
enum Change {
    Multiply,
    Divide,
    Negate,
    Trim(Keep),
}

impl Change {
    fn parse(op: &str) -> PyResult<Self> {
        match op {
            "*" => Ok(Self::Multiply),
            "/" => Ok(Self::Divide),
            "-" => Ok(Self::Negate),
            "</" => Ok(Self::Trim(Keep::Below)),
            ">/" => Ok(Self::Trim(Keep::Above)),
            _ => Err(PyValueError::new_err(format!("no change {op:?}"))),
        }
    }

    fn of(self, histogram: &Arc<FloatHistogram>, number: f64) -> Arc<FloatHistogram> {
        if let Self::Trim(keep) = self {
            return match histogram.trimmed(keep, number) {
                Some(trimmed) => trimmed.into(),
                None => histogram.clone(),
            };
        }
        let mut changed = FloatHistogram::clone(histogram);
        match self {
            Self::Divide => changed.divide(number),
            _ => changed.scale(number),
        }
        if !matches!(self, Self::Negate) {
            changed.compact();
        }
        changed.into()
    }
}

#[pyfunction]
pub fn histogram_change<'py>(
    py: Python<'py>,
    op: &str,
    column: &Bound<'py, HistogramColumn>,
    index: PyReadonlyArray2<'py, i32>,
    numbers: PyReadonlyArray2<'py, f64>,
) -> PyResult<PyCells<'py>> {
    let change = Change::parse(op)?;
    let cells = CellsIn::new(column.get(), &index)?;
    cells.same_shape((numbers.shape()[0], numbers.shape()[1]), "numbers")?;
    let numbers = dense2(&numbers);
    let out = py.detach(|| -> PyResult<_> {
        let mut out = CellsOut::new(cells.rows, cells.cols)?;
        for row in 0..cells.rows {
            let mut last: Option<(i32, u64, i32)> = None;
            for (step, &number) in cells.row(row).iter().enumerate() {
                let Some(histogram) = cells.at(number) else {
                    continue;
                };
                let factor = numbers[row * cells.cols + step];
                let made = match last {
                    Some((same, bits, made)) if same == number && bits == factor.to_bits() => {
                        out.put_again(row, step, made);
                        made
                    }
                    _ => out.put(row, step, change.of(histogram, factor))?,
                };
                last = Some((number, factor.to_bits(), made));
            }
        }
        Ok(out)
    })?;
    out.into_py(py)
}

/// Bits of what an addition met, cell by cell.
pub const INCOMPATIBLE: u8 = 1;
pub const RESET_COLLISION: u8 = 2;
pub const BOUNDS_RECONCILED: u8 = 4;

fn noted_bits(noted: Noted) -> u8 {
    let collision = if noted.reset_collision {
        RESET_COLLISION
    } else {
        0
    };
    let reconciled = if noted.bounds_reconciled {
        BOUNDS_RECONCILED
    } else {
        0
    };
    collision | reconciled
}

/// The sum or difference of two histograms and its note; none of incompatible ones.
fn add_pair(
    left: &FloatHistogram,
    right: &FloatHistogram,
    subtract: bool,
) -> (Option<FloatHistogram>, u8) {
    let mut result = left.clone();
    let added = if subtract {
        result.sub(right)
    } else {
        result.add(right)
    };
    let Ok(noted) = added else {
        return (None, INCOMPATIBLE);
    };
    if subtract {
        result.hint = ResetHint::Gauge;
    }
    result.compact();
    (Some(result), noted_bits(noted))
}

type PySums<'py> = (
    HistogramColumn,
    Bound<'py, PyArray2<i32>>,
    Bound<'py, PyArray2<u8>>,
);

#[pyfunction]
pub fn histogram_add<'py>(
    py: Python<'py>,
    left: &Bound<'py, HistogramColumn>,
    left_index: PyReadonlyArray2<'py, i32>,
    right: &Bound<'py, HistogramColumn>,
    right_index: PyReadonlyArray2<'py, i32>,
    subtract: bool,
) -> PyResult<PySums<'py>> {
    let left = CellsIn::new(left.get(), &left_index)?;
    let right = CellsIn::new(right.get(), &right_index)?;
    left.same_shape((right.rows, right.cols), "histograms")?;
    let (out, notes) = py.detach(|| -> PyResult<_> {
        let mut out = CellsOut::new(left.rows, left.cols)?;
        let mut notes = filled(cells(left.rows, left.cols)?, 0u8)?;
        for row in 0..left.rows {
            let pairs = left.row(row).iter().zip(right.row(row));
            for (step, (&a, &b)) in pairs.enumerate() {
                let (Some(a), Some(b)) = (left.at(a), right.at(b)) else {
                    continue;
                };
                let (result, note) = add_pair(a, b, subtract);
                notes[row * left.cols + step] = note;
                if let Some(result) = result {
                    out.put(row, step, result.into())?;
                }
            }
        }
        Ok((out, notes))
    })?;
    let shape = out.shape;
    let (column, index) = out.into_py(py)?;
    Ok((column, index, into_array2(py, shape, notes)?))
}

#[pyfunction]
pub fn histogram_equal<'py>(
    py: Python<'py>,
    left: &Bound<'py, HistogramColumn>,
    left_index: PyReadonlyArray2<'py, i32>,
    right: &Bound<'py, HistogramColumn>,
    right_index: PyReadonlyArray2<'py, i32>,
) -> PyResult<Bound<'py, PyArray2<bool>>> {
    let left = CellsIn::new(left.get(), &left_index)?;
    let right = CellsIn::new(right.get(), &right_index)?;
    left.same_shape((right.rows, right.cols), "histograms")?;
    let equal = py.detach(|| -> PyResult<_> {
        let mut equal = filled(cells(left.rows, left.cols)?, false)?;
        for row in 0..left.rows {
            let pairs = left.row(row).iter().zip(right.row(row));
            for (step, (&a, &b)) in pairs.enumerate() {
                if let (Some(a), Some(b)) = (left.at(a), right.at(b)) {
                    equal[row * left.cols + step] = a.same_as(b);
                }
            }
        }
        Ok(equal)
    })?;
    into_array2(py, (left.rows, left.cols), equal)
}

/// Distinct texts, and the number of its text for every histogram of a column.
#[pyfunction]
pub fn histogram_texts<'py>(
    py: Python<'py>,
    column: &Bound<'py, HistogramColumn>,
) -> (Vec<String>, Bound<'py, PyArray1<i64>>) {
    let column = column.get();
    let (texts, numbers) = py.detach(|| {
        let mut texts: Vec<String> = Vec::new();
        let mut known = std::collections::HashMap::new();
        let numbers: Vec<i64> = column
            .items
            .iter()
            .map(|histogram| {
                let text = histogram.to_text();
                *known.entry(text).or_insert_with_key(|text: &String| {
                    texts.push(text.clone());
                    texts.len() as i64 - 1
                })
            })
            .collect();
        (texts, numbers)
    });
    (texts, numbers.into_pyarray(py))
}
