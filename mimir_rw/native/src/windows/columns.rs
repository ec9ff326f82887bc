//! `SampleColumns`: decoded samples of n series.
//!
//! Invariants: `offsets` has n + 1 entries, starts at 0, never falls and ends at `ts.len() == values.len()`; within
//! a row times rise strictly. The same holds for histograms, which have offsets and times of their own. Stale markers
//! may be present. Never changes once built; kernels share it freely.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use super::cells::CellsIn;
use super::grid::Grid;
use super::is_stale;
use super::matrix::{MatrixIn, dense1, filled};
use crate::histogram::{FloatHistogram, HistogramColumn, ResetHint};

#[pyclass(frozen, module = "mimir_rw._native")]
#[derive(Clone, Debug, Default)]
pub struct SampleColumns {
    offsets: Vec<usize>,
    ts: Vec<i64>,
    values: Vec<f64>,
    /// As long as `ts`; 0 where a sample's is not known. None: no sample's is.
    start_ts: Option<Vec<i64>>,
    /// None: no row has any.
    histograms: Option<HistogramSamples>,
}

/// The histogram samples of the same rows. A row has no float and histogram of one time.
#[derive(Clone, Debug, Default)]
pub struct HistogramSamples {
    pub offsets: Vec<usize>,
    pub ts: Vec<i64>,
    pub column: HistogramColumn,
    /// As that of the floats.
    pub start_ts: Option<Vec<i64>>,
}

impl HistogramSamples {
    pub fn row(&self, row: usize) -> (&[i64], &[Arc<FloatHistogram>]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.ts[range.clone()], &self.column.items[range])
    }

    /// Start timestamps of the row's histograms, if any is known.
    pub fn start_row(&self, row: usize) -> Option<&[i64]> {
        let range = self.offsets[row]..self.offsets[row + 1];
        self.start_ts.as_ref().map(|starts| &starts[range])
    }

    /// Others at the same times.
    pub fn with_column(&self, column: HistogramColumn) -> Self {
        Self {
            offsets: self.offsets.clone(),
            ts: self.ts.clone(),
            column,
            start_ts: self.start_ts.clone(),
        }
    }

    fn with_rows(rows: usize) -> Self {
        Self {
            offsets: vec![0; rows + 1],
            ..Self::default()
        }
    }

    /// The samples for which `keep(time, histogram)` holds.
    fn filtered(&self, keep: impl Fn(i64, &FloatHistogram) -> bool) -> Self {
        let mut out = Self {
            offsets: vec![0],
            start_ts: self.start_ts.as_ref().map(|_| Vec::new()),
            ..Self::default()
        };
        for row in 0..self.offsets.len() - 1 {
            for at in self.offsets[row]..self.offsets[row + 1] {
                if keep(self.ts[at], &self.column.items[at]) {
                    out.push(self, at..at + 1);
                }
            }
            out.offsets.push(out.ts.len());
        }
        out
    }

    /// Append samples of another; start timestamps are kept if both have them.
    fn push(&mut self, other: &Self, range: std::ops::Range<usize>) {
        self.ts.extend_from_slice(&other.ts[range.clone()]);
        if let (Some(own), Some(starts)) = (&mut self.start_ts, &other.start_ts) {
            own.extend_from_slice(&starts[range.clone()]);
        }
        self.column
            .items
            .extend_from_slice(&other.column.items[range]);
    }

    fn some_if_any(self) -> Option<Self> {
        (!self.ts.is_empty()).then_some(self)
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
        if histograms
            .start_ts
            .as_ref()
            .is_some_and(|starts| starts.len() != count)
        {
            return Err("there must be a start timestamp per histogram");
        }
        self.histograms = histograms.some_if_any();
        Ok(self)
    }

    /// The same with a start timestamp per float, 0 where it is not known.
    pub fn with_start_ts(mut self, start_ts: Vec<i64>) -> Result<Self, &'static str> {
        if start_ts.len() != self.ts.len() {
            return Err("there must be a start timestamp per sample");
        }
        self.start_ts = start_ts.iter().any(|&start| start != 0).then_some(start_ts);
        Ok(self)
    }

    /// Without histograms.
    pub fn floats(&self) -> Self {
        Self {
            offsets: self.offsets.clone(),
            ts: self.ts.clone(),
            values: self.values.clone(),
            start_ts: self.start_ts.clone(),
            histograms: None,
        }
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

    /// Start timestamps of the row's floats, if any is known.
    pub fn start_row(&self, row: usize) -> Option<&[i64]> {
        let range = self.offsets[row]..self.offsets[row + 1];
        self.start_ts.as_ref().map(|starts| &starts[range])
    }

    fn first_unordered_row(&self) -> Option<usize> {
        (0..self.rows()).find(|&row| self.row(row).0.windows(2).any(|w| w[0] >= w[1]))
    }

    fn without_stale(&self) -> Self {
        let mut out = Self {
            offsets: Vec::with_capacity(self.offsets.len()),
            ts: Vec::with_capacity(self.ts.len()),
            values: Vec::with_capacity(self.values.len()),
            start_ts: self.start_ts.as_ref().map(|_| Vec::new()),
            histograms: None,
        };
        out.offsets.push(0);
        for row in 0..self.rows() {
            for at in self.offsets[row]..self.offsets[row + 1] {
                if !is_stale(self.values[at]) {
                    out.push(self, at..at + 1);
                }
            }
            out.offsets.push(out.ts.len());
        }
        let live = |histograms: &HistogramSamples| histograms.filtered(|_, h| !h.is_stale());
        out.histograms = self.histograms.as_ref().and_then(|h| live(h).some_if_any());
        out
    }

    /// Append floats of another; start timestamps are kept if both have them.
    fn push(&mut self, other: &Self, range: std::ops::Range<usize>) {
        self.ts.extend_from_slice(&other.ts[range.clone()]);
        self.values.extend_from_slice(&other.values[range.clone()]);
        if let (Some(own), Some(starts)) = (&mut self.start_ts, &other.start_ts) {
            own.extend_from_slice(&starts[range]);
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

    /// Add the histograms of cells of the same shape. What a hint says of the sample before is forgotten: that one
    /// may not be among them, or be the same.
    fn add_cells(&mut self, cells: &CellsIn<'_>, grid: Grid) -> PyResult<()> {
        let mut out = HistogramSamples::with_rows(self.rows());
        let mut forgotten: Option<(i32, Arc<FloatHistogram>)> = None;
        for row in 0..self.rows() {
            for (step, &index) in cells.row(row).iter().enumerate().filter(|(_, i)| **i >= 0) {
                let item = cells.item(index).ok_or_else(no_item)?;
                let item = match (item.hint, &forgotten) {
                    (ResetHint::Unknown | ResetHint::Gauge, _) => item.clone(),
                    (_, Some((known, item))) if *known == index => item.clone(),
                    _ => Arc::new(FloatHistogram {
                        hint: ResetHint::Unknown,
                        ..(**item).clone()
                    }),
                };
                forgotten = Some((index, item.clone()));
                out.ts.push(grid.at(step));
                out.column.items.push(item);
            }
            out.offsets[row + 1] = out.ts.len();
        }
        self.histograms = out.some_if_any();
        Ok(())
    }

    /// Rows of all parts, one after the other.
    fn joined(parts: &[&Self]) -> Self {
        let samples = parts.iter().map(|p| p.ts.len()).sum();
        let mut out = Self {
            offsets: vec![0],
            ts: Vec::with_capacity(samples),
            values: Vec::with_capacity(samples),
            ..Self::default()
        };
        for part in parts {
            let base = out.ts.len();
            out.offsets
                .extend(part.offsets[1..].iter().map(|o| base + o));
            out.ts.extend_from_slice(&part.ts);
            out.values.extend_from_slice(&part.values);
        }
        if parts.iter().any(|p| p.start_ts.is_some()) {
            let starts = parts
                .iter()
                .flat_map(|p| start_times(&p.start_ts, p.ts.len()));
            out.start_ts = Some(starts.collect());
        }
        if parts.iter().any(|p| p.histograms.is_some()) {
            out.histograms = Some(joined_histograms(parts));
        }
        out
    }

    /// The given rows, in that order; None if there is no such row.
    fn taken(&self, rows: &[i64]) -> Option<Self> {
        let mut out = Self {
            offsets: vec![0],
            start_ts: self.start_ts.as_ref().map(|_| Vec::new()),
            ..Self::default()
        };
        let mut histograms = HistogramSamples {
            offsets: vec![0],
            ..HistogramSamples::default()
        };
        histograms.start_ts = self
            .histograms
            .as_ref()
            .and_then(|h| h.start_ts.as_ref().map(|_| Vec::new()));
        for &row in rows {
            let row = usize::try_from(row).ok().filter(|&row| row < self.rows())?;
            out.push(self, self.offsets[row]..self.offsets[row + 1]);
            out.offsets.push(out.ts.len());
            if let Some(own) = &self.histograms {
                histograms.push(own, own.offsets[row]..own.offsets[row + 1]);
            }
            histograms.offsets.push(histograms.ts.len());
        }
        out.histograms = histograms.some_if_any();
        Some(out)
    }
}

fn start_times(starts: &Option<Vec<i64>>, count: usize) -> impl Iterator<Item = i64> + '_ {
    (0..count).map(move |at| starts.as_ref().map_or(0, |starts| starts[at]))
}

fn joined_histograms(parts: &[&SampleColumns]) -> HistogramSamples {
    let mut out = HistogramSamples::with_rows(0);
    let found = || parts.iter().filter_map(|p| p.histograms.as_ref());
    if found().any(|h| h.start_ts.is_some()) {
        let starts = found().flat_map(|h| start_times(&h.start_ts, h.ts.len()));
        out.start_ts = Some(starts.collect());
    }
    for part in parts {
        let base = out.ts.len();
        match &part.histograms {
            None => out.offsets.extend(vec![base; part.rows()]),
            Some(histograms) => {
                out.offsets
                    .extend(histograms.offsets[1..].iter().map(|o| base + o));
                out.ts.extend_from_slice(&histograms.ts);
                out.column.items.extend_from_slice(&histograms.column.items);
            }
        }
    }
    out
}

fn no_item() -> PyErr {
    PyIndexError::new_err("the column has no such histogram")
}

/// Offsets as Python gives them.
fn to_offsets(offsets: &PyReadonlyArray1<'_, i64>) -> PyResult<Vec<usize>> {
    let offsets = offsets.as_array();
    let offsets = offsets.iter().map(|&o| usize::try_from(o));
    offsets
        .collect::<Result<_, _>>()
        .map_err(|_| PyValueError::new_err("offsets must ascend"))
}

#[pymethods]
impl SampleColumns {
    #[new]
    #[pyo3(signature = (offsets, ts, values, *, start_ts = None))]
    fn py_new(
        py: Python<'_>,
        offsets: PyReadonlyArray1<'_, i64>,
        ts: PyReadonlyArray1<'_, i64>,
        values: PyReadonlyArray1<'_, f64>,
        start_ts: Option<PyReadonlyArray1<'_, i64>>,
    ) -> PyResult<Self> {
        let offsets = to_offsets(&offsets)?;
        let ts: Vec<i64> = ts.as_array().iter().copied().collect();
        let values: Vec<f64> = values.as_array().iter().copied().collect();
        let start_ts = start_ts.map(|starts| dense1(&starts).into_owned());
        py.detach(|| {
            let mut cols = Self::from_vecs(offsets, ts, values).map_err(PyValueError::new_err)?;
            if let Some(start_ts) = start_ts {
                cols = cols
                    .with_start_ts(start_ts)
                    .map_err(PyValueError::new_err)?;
            }
            match cols.first_unordered_row() {
                None => Ok(cols),
                Some(row) => Err(PyValueError::new_err(format!(
                    "times of row {row} must ascend"
                ))),
            }
        })
    }

    #[pyo3(name = "with_histograms", signature = (offsets, ts, column, *, start_ts = None))]
    fn py_with_histograms(
        &self,
        offsets: PyReadonlyArray1<'_, i64>,
        ts: PyReadonlyArray1<'_, i64>,
        column: &HistogramColumn,
        start_ts: Option<PyReadonlyArray1<'_, i64>>,
    ) -> PyResult<Self> {
        let histograms = HistogramSamples {
            offsets: to_offsets(&offsets)?,
            ts: dense1(&ts).into_owned(),
            column: column.clone(),
            start_ts: start_ts.map(|starts| dense1(&starts).into_owned()),
        };
        let cols = self.clone().with_histograms(histograms);
        let cols = cols.map_err(PyValueError::new_err)?;
        let unordered = |h: &HistogramSamples| {
            (0..cols.rows()).find(|&row| h.row(row).0.windows(2).any(|w| w[0] >= w[1]))
        };
        match cols.histograms.as_ref().and_then(unordered) {
            None => Ok(cols),
            Some(row) => Err(PyValueError::new_err(format!(
                "times of row {row} must ascend"
            ))),
        }
    }

    #[staticmethod]
    #[pyo3(signature = (values, mask, start_ms, step_ms, index = None, column = None))]
    fn from_matrix(
        py: Python<'_>,
        values: PyReadonlyArray2<'_, f64>,
        mask: PyReadonlyArray2<'_, bool>,
        start_ms: i64,
        step_ms: i64,
        index: Option<PyReadonlyArray2<'_, i32>>,
        column: Option<&HistogramColumn>,
    ) -> PyResult<Self> {
        let input = MatrixIn::new(&values, &mask)?;
        let cells = match (&index, column) {
            (Some(index), Some(column)) => {
                Some(CellsIn::new(index, column, (input.rows, input.cols))?)
            }
            _ => None,
        };
        let grid = Grid::new(start_ms, step_ms, input.cols)?;
        if step_ms == 0 && input.cols > 1 {
            return Err(PyValueError::new_err("step_ms must be positive"));
        }
        py.detach(|| {
            let mut out = Self::from_cells(&input, grid)?;
            if let Some(cells) = &cells {
                out.add_cells(cells, grid)?;
            }
            Ok(out)
        })
    }

    fn __len__(&self) -> usize {
        self.rows()
    }

    #[getter]
    fn sample_count(&self) -> usize {
        self.ts.len()
    }

    #[getter]
    fn histogram_count(&self) -> usize {
        self.histograms.as_ref().map_or(0, |h| h.ts.len())
    }

    /// Estimate of the bytes that the histograms take.
    #[getter]
    fn histogram_bytes(&self) -> usize {
        let items = self.histograms.iter().flat_map(|h| &h.column.items);
        items.map(|item| item.byte_size()).sum()
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

    #[getter]
    fn start_ts<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<i64>>>> {
        let starts = self.start_ts.as_ref();
        starts
            .map(|s| read_only(PyArray1::from_slice(py, s)))
            .transpose()
    }

    #[getter]
    fn histogram_offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let offsets = match &self.histograms {
            None => vec![0; self.offsets.len()],
            Some(histograms) => histograms.offsets.iter().map(|&o| o as i64).collect(),
        };
        read_only(offsets.into_pyarray(py))
    }

    #[getter]
    fn histogram_ts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let ts = self.histograms.as_ref().map_or(&[][..], |h| &h.ts);
        read_only(PyArray1::from_slice(py, ts))
    }

    #[getter]
    fn histogram_start_ts<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyArray1<i64>>>> {
        let starts = self.histograms.as_ref().and_then(|h| h.start_ts.as_ref());
        starts
            .map(|s| read_only(PyArray1::from_slice(py, s)))
            .transpose()
    }

    #[getter]
    fn histogram_column(&self) -> HistogramColumn {
        let column = self.histograms.as_ref().map(|h| h.column.clone());
        column.unwrap_or_default()
    }

    fn drop_stale(&self, py: Python<'_>) -> Self {
        py.detach(|| self.without_stale())
    }

    fn shift(&self, py: Python<'_>, delta_ms: i64) -> Self {
        let shift = |ts: &mut Vec<i64>| {
            for t in ts {
                *t = t.saturating_add(delta_ms);
            }
        };
        let shift_start = |ts: &mut Vec<i64>| {
            for t in ts.iter_mut().filter(|t| **t != 0) {
                *t = t.saturating_add(delta_ms);
            }
        };
        py.detach(|| {
            let mut shifted = self.clone();
            shift(&mut shifted.ts);
            shifted.start_ts.as_mut().map(shift_start);
            if let Some(histograms) = &mut shifted.histograms {
                shift(&mut histograms.ts);
                histograms.start_ts.as_mut().map(shift_start);
            }
            shifted
        })
    }

    fn take(&self, py: Python<'_>, rows: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let rows = dense1(&rows);
        py.detach(|| self.taken(&rows))
            .ok_or_else(|| PyIndexError::new_err("the columns have no such row"))
    }

    #[staticmethod]
    fn concat(py: Python<'_>, parts: Vec<Bound<'_, SampleColumns>>) -> Self {
        let parts: Vec<&SampleColumns> = parts.iter().map(|p| p.get()).collect();
        py.detach(|| Self::joined(&parts))
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
