//! Row-major matrices with a presence mask, and their way to and from numpy.

use std::borrow::Cow;

use numpy::ndarray::Array2;
use numpy::{
    Element, IntoPyArray, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

/// Values and mask as they go to Python: float64 and bool arrays of one shape.
pub type PyMatrix<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<bool>>);

/// A `rows × cols` result. A value whose mask is false is 0.
#[derive(Debug)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f64>,
    pub mask: Vec<bool>,
}

/// `n` copies of `fill`, or MemoryError.
pub fn filled<T: Clone>(n: usize, fill: T) -> PyResult<Vec<T>> {
    let mut out = Vec::new();
    out.try_reserve_exact(n)
        .map_err(|_| PyMemoryError::new_err("result too large"))?;
    out.resize(n, fill);
    Ok(out)
}

/// rows × cols, or MemoryError on overflow.
pub fn cells(rows: usize, cols: usize) -> PyResult<usize> {
    rows.checked_mul(cols)
        .ok_or_else(|| PyMemoryError::new_err("result too large"))
}

impl Matrix {
    pub fn new(rows: usize, cols: usize) -> PyResult<Self> {
        let n = cells(rows, cols)?;
        Ok(Self {
            rows,
            cols,
            values: filled(n, 0.0)?,
            mask: filled(n, false)?,
        })
    }

    pub fn row_mut(&mut self, row: usize) -> (&mut [f64], &mut [bool]) {
        let range = row * self.cols..(row + 1) * self.cols;
        (&mut self.values[range.clone()], &mut self.mask[range])
    }

    pub fn into_py(self, py: Python<'_>) -> PyResult<PyMatrix<'_>> {
        let shape = (self.rows, self.cols);
        Ok((
            into_array2(py, shape, self.values)?,
            into_array2(py, shape, self.mask)?,
        ))
    }
}

pub fn into_array2<T: Element>(
    py: Python<'_>,
    shape: (usize, usize),
    data: Vec<T>,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    let array =
        Array2::from_shape_vec(shape, data).map_err(|e| PyValueError::new_err(e.to_string()))?;
    Ok(array.into_pyarray(py))
}

/// The elements of a one-dimensional array; copied only when it is strided.
pub fn dense1<'a, T: Element + Copy>(array: &'a PyReadonlyArray1<'_, T>) -> Cow<'a, [T]> {
    match array.as_slice() {
        Ok(slice) => Cow::Borrowed(slice),
        Err(_) => Cow::Owned(array.as_array().iter().copied().collect()),
    }
}

/// The elements of a matrix in row-major order; copied only when it is laid out otherwise.
pub fn dense2<'a, T: Element + Copy>(array: &'a PyReadonlyArray2<'_, T>) -> Cow<'a, [T]> {
    match array.as_slice() {
        Ok(slice) if array.is_c_contiguous() => Cow::Borrowed(slice),
        _ => Cow::Owned(array.as_array().iter().copied().collect()),
    }
}

/// Input matrix and mask, checked to have one shape.
pub struct MatrixIn<'a> {
    pub rows: usize,
    pub cols: usize,
    pub values: Cow<'a, [f64]>,
    pub mask: Cow<'a, [bool]>,
}

impl<'a> MatrixIn<'a> {
    pub fn new(
        values: &'a PyReadonlyArray2<'_, f64>,
        mask: &'a PyReadonlyArray2<'_, bool>,
    ) -> PyResult<Self> {
        if values.shape() != mask.shape() {
            return Err(PyValueError::new_err(
                "values and mask must have the same shape",
            ));
        }
        let (rows, cols) = (values.shape()[0], values.shape()[1]);
        Ok(Self {
            rows,
            cols,
            values: dense2(values),
            mask: dense2(mask),
        })
    }

    pub fn row(&self, row: usize) -> (&[f64], &[bool]) {
        let range = row * self.cols..(row + 1) * self.cols;
        (&self.values[range.clone()], &self.mask[range])
    }
}
