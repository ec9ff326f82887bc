//! `SampleColumns`: decoded samples of n series.
//!
//! Invariants: `offsets` has n + 1 entries, starts at 0, never falls and ends at `ts.len() == values.len()`; within
//! a row times rise strictly. Stale markers may be present. Never changes once built; kernels share it freely.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::grid::Grid;
use super::is_stale;
use super::matrix::{MatrixIn, filled};
use crate::histogram::{FloatHistogram, HistogramColumn};

#[pyclass(frozen, module = "mimir_rw._native")]
#[derive(Clone, Debug, Default)]
pub struct SampleColumns {
    offsets: Vec<usize>,
    ts: Vec<i64>,
    values: Vec<f64>,
    /// None: no row has any.
    histograms: Option<HistogramSamples>,
}

/// The histogram samples of the same rows. A row has no float and histogram of one time.
#[derive(Clone, Debug, Default)]
pub struct HistogramSamples {
    pub offsets: Vec<usize>,
    pub ts: Vec<i64>,
    pub column: HistogramColumn,
}

impl HistogramSamples {
    pub fn row(&self, row: usize) -> (&[i64], &[Arc<FloatHistogram>]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.ts[range.clone()], &self.column.items[range])
    }
}

impl SampleColumns {
    /// Columns from Rust. Returns a message when an invariant on lengths or offsets does not hold; the order of
    /// times within a row is the caller's promise.
    pub fn from_vecs(
        offsets: Vec<usize>,
        ts: Vec<i64>,
        values: Vec<f64>,
    ) -> Result<Self, &'static str> {
        if offsets.first() != Some(&0) {
            return Err("offsets must start with 0");
        }
        if offsets.windows(2).any(|w| w[0] > w[1]) {
            return Err("offsets must ascend");
        }
        if ts.len() != values.len() {
            return Err("ts and values must have the same length");
        }
        if offsets.last() != Some(&ts.len()) {
            return Err("the last offset must be the number of samples");
        }
        Ok(Self {
            offsets,
            ts,
            values,
            ..Self::default()
        })
    }

    /// The same with histograms. Returns a message when lengths or offsets do not fit; the order of times, and that no
    /// float has the time of a histogram, is the caller's promise.
    pub fn with_histograms(mut self, histograms: HistogramSamples) -> Result<Self, &'static str> {
        if histograms.offsets.len() != self.offsets.len() || histograms.offsets[0] != 0 {
            return Err("histograms need an offset per row");
        }
        if histograms.offsets.windows(2).any(|w| w[0] > w[1]) {
            return Err("offsets of histograms must ascend");
        }
        let count = histograms.column.items.len();
        if histograms.ts.len() != count || histograms.offsets.last() != Some(&count) {
            return Err("the last offset must be the number of histograms");
        }
        self.histograms = (count > 0).then_some(histograms);
        Ok(self)
    }

    pub fn histograms(&self) -> Option<&HistogramSamples> {
        self.histograms.as_ref()
    }

    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn row(&self, row: usize) -> (&[i64], &[f64]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.ts[range.clone()], &self.values[range])
    }

    fn first_unordered_row(&self) -> Option<usize> {
        (0..self.rows()).find(|&row| self.row(row).0.windows(2).any(|w| w[0] >= w[1]))
    }

    fn without_stale(&self) -> Self {
        let mut offsets = Vec::with_capacity(self.offsets.len());
        let mut ts = Vec::with_capacity(self.ts.len());
        let mut values = Vec::with_capacity(self.values.len());
        offsets.push(0);
        for row in 0..self.rows() {
            let (row_ts, row_values) = self.row(row);
            for (&t, &v) in row_ts.iter().zip(row_values) {
                if !is_stale(v) {
                    ts.push(t);
                    values.push(v);
                }
            }
            offsets.push(ts.len());
        }
        Self {
            offsets,
            ts,
            values,
            ..Self::default()
        }
    }

    fn from_cells(input: &MatrixIn<'_>, grid: Grid) -> PyResult<Self> {
        let samples = input.mask.iter().filter(|&&present| present).count();
        let mut offsets = filled(input.rows + 1, 0usize)?;
        let mut ts = Vec::with_capacity(samples);
        let mut values = Vec::with_capacity(samples);
        for row in 0..input.rows {
            let (row_values, row_mask) = input.row(row);
            for (step, (&value, &present)) in row_values.iter().zip(row_mask).enumerate() {
                if present {
                    ts.push(grid.at(step));
                    values.push(value);
                }
            }
            offsets[row + 1] = ts.len();
        }
        Ok(Self {
            offsets,
            ts,
            values,
            ..Self::default()
        })
    }
}

#[pymethods]
impl SampleColumns {
    #[new]
    fn py_new(
        py: Python<'_>,
        offsets: PyReadonlyArray1<'_, i64>,
        ts: PyReadonlyArray1<'_, i64>,
        values: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        let offsets = offsets
            .as_array()
            .iter()
            .map(|&o| usize::try_from(o))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| PyValueError::new_err("offsets must ascend"))?;
        let ts: Vec<i64> = ts.as_array().iter().copied().collect();
        let values: Vec<f64> = values.as_array().iter().copied().collect();
        py.detach(|| {
            let cols = Self::from_vecs(offsets, ts, values).map_err(PyValueError::new_err)?;
            match cols.first_unordered_row() {
                None => Ok(cols),
                Some(row) => Err(PyValueError::new_err(format!(
                    "times of row {row} must ascend"
                ))),
            }
        })
    }

    #[staticmethod]
    fn from_matrix(
        py: Python<'_>,
        values: PyReadonlyArray2<'_, f64>,
        mask: PyReadonlyArray2<'_, bool>,
        start_ms: i64,
        step_ms: i64,
    ) -> PyResult<Self> {
        let input = MatrixIn::new(&values, &mask)?;
        let grid = Grid::new(start_ms, step_ms, input.cols)?;
        if step_ms == 0 && input.cols > 1 {
            return Err(PyValueError::new_err("step_ms must be positive"));
        }
        py.detach(|| Self::from_cells(&input, grid))
    }

    fn __len__(&self) -> usize {
        self.rows()
    }

    #[getter]
    fn sample_count(&self) -> usize {
        self.ts.len()
    }

    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let offsets: Vec<i64> = self.offsets.iter().map(|&o| o as i64).collect();
        read_only(offsets.into_pyarray(py))
    }

    #[getter]
    fn ts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        read_only(PyArray1::from_slice(py, &self.ts))
    }

    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        read_only(PyArray1::from_slice(py, &self.values))
    }

    fn drop_stale(&self, py: Python<'_>) -> Self {
        py.detach(|| self.without_stale())
    }

    fn shift(&self, py: Python<'_>, delta_ms: i64) -> Self {
        py.detach(|| {
            let mut shifted = self.clone();
            for t in &mut shifted.ts {
                *t = t.saturating_add(delta_ms);
            }
            shifted
        })
    }

    #[staticmethod]
    fn concat(py: Python<'_>, parts: Vec<Bound<'_, SampleColumns>>) -> Self {
        let parts: Vec<&SampleColumns> = parts.iter().map(|p| p.get()).collect();
        py.detach(|| {
            let samples = parts.iter().map(|p| p.ts.len()).sum();
            let mut offsets = vec![0];
            let mut ts = Vec::with_capacity(samples);
            let mut values = Vec::with_capacity(samples);
            for part in parts {
                let base = ts.len();
                offsets.extend(part.offsets[1..].iter().map(|o| base + o));
                ts.extend_from_slice(&part.ts);
                values.extend_from_slice(&part.values);
            }
            Self {
                offsets,
                ts,
                values,
                ..Self::default()
            }
        })
    }
}

fn read_only<'py, T>(array: Bound<'py, PyArray1<T>>) -> PyResult<Bound<'py, PyArray1<T>>> {
    array.call_method1("setflags", (false,))?;
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_offsets_are_checked() {
        let from = |offsets: &[usize], ts: &[i64], values: &[f64]| {
            SampleColumns::from_vecs(offsets.to_vec(), ts.to_vec(), values.to_vec()).err()
        };
        assert_eq!(from(&[0], &[], &[]), None);
        assert_eq!(from(&[0, 1, 1], &[5], &[1.0]), None);
        assert_eq!(from(&[], &[], &[]), Some("offsets must start with 0"));
        assert_eq!(from(&[1], &[5], &[1.0]), Some("offsets must start with 0"));
        assert_eq!(from(&[0, 2, 1], &[5], &[1.0]), Some("offsets must ascend"));
        assert_eq!(
            from(&[0, 1], &[5], &[]),
            Some("ts and values must have the same length")
        );
        assert_eq!(
            from(&[0, 2], &[5], &[1.0]),
            Some("the last offset must be the number of samples")
        );
    }
}
