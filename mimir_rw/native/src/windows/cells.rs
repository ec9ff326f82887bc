//! Histogram cells of a matrix: for each cell a number into a column, or -1.

use std::borrow::Cow;
use std::sync::Arc;

use numpy::{PyArray2, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

use super::matrix::{Matrix, cells, dense2, filled, into_array2};
use crate::histogram::{FloatHistogram, HistogramColumn};

/// Float values, their presence, histogram numbers, the column that these are of, and what each row met.
pub type PyMixedMatrix<'py> = (
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray2<bool>>,
    Bound<'py, PyArray2<i32>>,
    HistogramColumn,
    Vec<u32>,
);

/// A matrix whose cells are floats or histograms, never both.
#[derive(Debug)]
pub struct MixedMatrix {
    pub floats: Matrix,
    /// Numbers into `column`, -1 for none.
    pub index: Vec<i32>,
    pub column: HistogramColumn,
    /// For each row bits of `flags`.
    pub flags: Vec<u32>,
}

/// A computed cell.
#[derive(Clone, Debug)]
pub enum Cell {
    Empty,
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl MixedMatrix {
    /// The given floats, and no histogram yet.
    pub fn over(floats: Matrix) -> PyResult<Self> {
        Ok(Self {
            index: filled(cells(floats.rows, floats.cols)?, -1)?,
            flags: filled(floats.rows, 0)?,
            column: HistogramColumn::default(),
            floats,
        })
    }

    pub fn empty(rows: usize, cols: usize) -> PyResult<Self> {
        Self::over(Matrix::new(rows, cols)?)
    }

    /// Put what a cell holds, whatever was in it.
    pub fn set(&mut self, row: usize, step: usize, cell: &Cell) -> PyResult<()> {
        let (values, mask) = self.floats.row_mut(row);
        (values[step], mask[step]) = match cell {
            Cell::Float(value) => (*value, true),
            Cell::Empty | Cell::Histogram(_) => (0.0, false),
        };
        let at = row * self.floats.cols + step;
        self.index[at] = match cell {
            Cell::Histogram(histogram) => self.number(histogram)?,
            Cell::Empty | Cell::Float(_) => -1,
        };
        Ok(())
    }

    /// The histogram's number; repetitions of the one put last are not stored again.
    fn number(&mut self, histogram: &Arc<FloatHistogram>) -> PyResult<i32> {
        let items = &mut self.column.items;
        if !items
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, histogram))
        {
            items.push(histogram.clone());
        }
        i32::try_from(items.len() - 1).map_err(|_| PyMemoryError::new_err("result too large"))
    }

    pub fn into_py(self, py: Python<'_>) -> PyResult<PyMixedMatrix<'_>> {
        let shape = (self.floats.rows, self.floats.cols);
        let (values, mask) = self.floats.into_py(py)?;
        let index = into_array2(py, shape, self.index)?;
        Ok((values, mask, index, self.column, self.flags))
    }
}

/// Histogram cells from Python, checked to have the shape of their matrix.
pub struct CellsIn<'a> {
    cols: usize,
    index: Cow<'a, [i32]>,
    column: &'a HistogramColumn,
}

impl<'a> CellsIn<'a> {
    pub fn new(
        index: &'a PyReadonlyArray2<'_, i32>,
        column: &'a HistogramColumn,
        shape: (usize, usize),
    ) -> PyResult<Self> {
        if index.shape() != [shape.0, shape.1] {
            return Err(PyValueError::new_err(
                "values and histograms must have the same shape",
            ));
        }
        Ok(Self {
            cols: shape.1,
            index: dense2(index),
            column,
        })
    }

    pub fn row(&self, row: usize) -> &[i32] {
        &self.index[row * self.cols..(row + 1) * self.cols]
    }

    /// The histogram of that number. None: it is not in the column.
    pub fn item(&self, number: i32) -> Option<&'a Arc<FloatHistogram>> {
        self.column.items.get(usize::try_from(number).ok()?)
    }
}
