//! The Python face of series sets.

use std::ops::Range;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::encoded::EncodedSet;
use super::exemplars::Exemplars;
use super::merged::MergedSet;
use super::part;
use super::runs::{Columns, RunSource, Source, check_rows};
use crate::bytes::Bytes;
use crate::codec::Damaged;
use crate::codec::histogram::looks::{Looks, Wanted};
use crate::error::{DataDamaged, DecodeError};
use crate::head::HeadSeriesSet;
use crate::labels::LabelFrame;
use crate::windows::SampleColumns;

fn rows(start: usize, end: usize, len: usize) -> PyResult<Range<usize>> {
    check_rows(start, end, len).map_err(PyIndexError::new_err)
}

pub fn columns(decoded: Result<Columns, Damaged>) -> PyResult<SampleColumns> {
    let columns = decoded?;
    let floats = SampleColumns::from_vecs(columns.offsets, columns.ts, columns.values);
    let both = floats.and_then(|floats| match columns.histograms {
        None => Ok(floats),
        Some(histograms) => floats.with_histograms(histograms),
    });
    both.map_err(DataDamaged::new_err)
}

/// Which histograms a query looks at; see `_native.pyi`.
#[pyclass(frozen, name = "Looks", module = "mimir_rw._native")]
pub struct PyLooks(Looks);

impl PyLooks {
    pub fn of(looks: Option<&Self>) -> &Looks {
        looks.map_or(&Looks::ALL, |looks| &looks.0)
    }
}

#[pymethods]
impl PyLooks {
    #[new]
    fn new(
        wanted: &str,
        start_ms: i64,
        step_ms: i64,
        steps: u64,
        range_ms: i64,
        bare: bool,
    ) -> PyResult<Self> {
        let wanted = match wanted {
            "all" => Wanted::All,
            "newest" => Wanted::Newest,
            "edges" => Wanted::Edges,
            "times" => Wanted::Times,
            _ => return Err(PyValueError::new_err("no such way to look")),
        };
        Ok(Self(Looks {
            wanted,
            start: start_ms,
            step: step_ms,
            steps,
            range: range_ms,
            bare,
        }))
    }
}

/// A series set of another process; see storage/contract.py.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct EncodedSeriesSet(pub(crate) Arc<EncodedSet>);

#[pymethods]
impl EncodedSeriesSet {
    #[getter]
    fn labels(&self) -> LabelFrame {
        self.0.labels.clone()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.memory_bytes()
    }

    #[pyo3(signature = (start_row, end_row, mint, maxt, looks=None))]
    fn decode(
        &self,
        py: Python<'_>,
        start_row: usize,
        end_row: usize,
        mint: i64,
        maxt: i64,
        looks: Option<&PyLooks>,
    ) -> PyResult<SampleColumns> {
        let (rows, looks) = (rows(start_row, end_row, self.0.len())?, PyLooks::of(looks));
        columns(py.detach(|| self.0.decode(rows, mint, maxt, looks)))
    }

    fn sample_count_max(&self, start_row: usize, end_row: usize) -> PyResult<usize> {
        let rows = rows(start_row, end_row, self.0.len())?;
        Ok(self.0.sample_count_max(rows))
    }

    #[pyo3(signature = (start_row, end_row, *, histograms=true))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        start_row: usize,
        end_row: usize,
        histograms: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let rows = rows(start_row, end_row, self.0.len())?;
        let encoded = py.detach(|| part::encode(&*self.0, rows, histograms));
        Ok(PyBytes::new(py, &encoded))
    }

    fn part_end(&self, start_row: usize, bytes_max: usize) -> PyResult<usize> {
        let rows = rows(start_row, self.0.len(), self.0.len())?;
        Ok(part::end_of(&*self.0, rows.start, bytes_max))
    }
}

/// The series of several replicas; see storage/contract.py.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct MergedSeriesSet(Arc<MergedSet>);

#[pymethods]
impl MergedSeriesSet {
    #[getter]
    fn labels(&self) -> LabelFrame {
        self.0.labels().clone()
    }

    #[pyo3(signature = (start_row, end_row, mint, maxt, looks=None))]
    fn decode(
        &self,
        py: Python<'_>,
        start_row: usize,
        end_row: usize,
        mint: i64,
        maxt: i64,
        looks: Option<&PyLooks>,
    ) -> PyResult<SampleColumns> {
        let (rows, looks) = (rows(start_row, end_row, self.0.len())?, PyLooks::of(looks));
        columns(py.detach(|| self.0.decode(rows, mint, maxt, looks)))
    }

    fn sample_count_max(&self, start_row: usize, end_row: usize) -> PyResult<usize> {
        Ok(self
            .0
            .sample_count_max(rows(start_row, end_row, self.0.len())?))
    }

    #[pyo3(signature = (start_row, end_row, *, histograms=true))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        start_row: usize,
        end_row: usize,
        histograms: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let rows = rows(start_row, end_row, self.0.len())?;
        let encoded = py.detach(|| part::encode(&*self.0, rows, histograms));
        Ok(PyBytes::new(py, &encoded))
    }

    fn part_end(&self, start_row: usize, bytes_max: usize) -> PyResult<usize> {
        let rows = rows(start_row, self.0.len(), self.0.len())?;
        Ok(part::end_of(&*self.0, rows.start, bytes_max))
    }
}

#[derive(FromPyObject)]
enum AnySet<'py> {
    Head(Bound<'py, HeadSeriesSet>),
    Encoded(Bound<'py, EncodedSeriesSet>),
    Merged(Bound<'py, MergedSeriesSet>),
}

#[pyfunction]
fn merge_series_sets(py: Python<'_>, sets: Vec<AnySet<'_>>) -> MergedSeriesSet {
    let source = |set: &AnySet<'_>| match set {
        AnySet::Head(set) => Source::Head(set.get().0.clone()),
        AnySet::Encoded(set) => Source::Encoded(set.get().0.clone()),
        AnySet::Merged(set) => Source::Merged(set.get().0.clone()),
    };
    let sources: Vec<Source> = sets.iter().map(source).collect();
    MergedSeriesSet(Arc::new(py.detach(|| MergedSet::new(sources))))
}

#[pyfunction]
fn decode_series_set(py: Python<'_>, parts: Vec<Bytes>) -> PyResult<EncodedSeriesSet> {
    let set = py.detach(|| EncodedSet::decode(parts)).map_err(malformed)?;
    Ok(EncodedSeriesSet(Arc::new(set)))
}

/// Exemplars of series in label order; see `_native.pyi`.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct ExemplarSet(pub(crate) Exemplars);

#[pymethods]
impl ExemplarSet {
    #[getter]
    fn labels(&self) -> LabelFrame {
        self.0.labels.clone()
    }

    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let offsets: Vec<i64> = self.0.offsets.iter().map(|&o| o as i64).collect();
        offsets.into_pyarray(py)
    }

    #[getter]
    fn ts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let ts: Vec<i64> = self.0.items.iter().map(|e| e.ts).collect();
        ts.into_pyarray(py)
    }

    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let values: Vec<f64> = self.0.items.iter().map(|e| e.value).collect();
        values.into_pyarray(py)
    }

    #[getter]
    fn exemplar_labels(&self, py: Python<'_>) -> LabelFrame {
        py.detach(|| self.0.exemplar_labels())
    }

    fn __len__(&self) -> usize {
        self.0.items.len()
    }
}

#[pyfunction]
fn series_set_part_rows(part: Bytes) -> PyResult<usize> {
    part::rows_of(&part).map_err(malformed)
}

fn malformed(damaged: Damaged) -> PyErr {
    DecodeError::new_err(format!("cannot decode a series set: {damaged}"))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<EncodedSeriesSet>()?;
    m.add_class::<MergedSeriesSet>()?;
    m.add_class::<ExemplarSet>()?;
    m.add_class::<PyLooks>()?;
    m.add_function(wrap_pyfunction!(merge_series_sets, m)?)?;
    m.add_function(wrap_pyfunction!(decode_series_set, m)?)?;
    m.add_function(wrap_pyfunction!(series_set_part_rows, m)?)
}
