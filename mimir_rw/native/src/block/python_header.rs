//! The Python face of index-headers: what a store-gateway asks, in the order in which it asks.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::fetch::{self, ChunkFetch, Fetched, FileRange, SeriesFetch};
use super::header::{self, IndexHeader};
use super::plan::Plan;
use super::python::{MatcherTuple, compile};
use super::rows::Selected;
use crate::bytes::Bytes;
use crate::labels::LabelFrame;
use crate::series_set::python::EncodedSeriesSet;
use crate::series_set::runs::check_rows;

type Ranges<'py> = Bound<'py, PyArray2<i64>>;

/// Start and end of each range as a row, after the file where there are several.
fn rows<'py>(py: Python<'py>, ranges: &[FileRange], files: bool) -> PyResult<Ranges<'py>> {
    let row = |range: &FileRange| {
        let file = files.then_some(i64::from(range.file));
        file.into_iter()
            .chain([range.start as i64, range.end as i64])
    };
    let flat: Vec<i64> = ranges.iter().flat_map(row).collect();
    flat.into_pyarray(py)
        .reshape([ranges.len(), 2 + usize::from(files)])
}

fn pair(range: &Range<u64>) -> (u64, u64) {
    (range.start, range.end)
}

#[pyfunction]
fn index_header_ranges(toc: Bytes, index_bytes: u64) -> PyResult<((u64, u64), (u64, u64))> {
    let (symbols, tail) = header::ranges(&toc, index_bytes)?;
    Ok((pair(&symbols), pair(&tail)))
}

#[pyfunction]
fn build_index_header<'py>(
    py: Python<'py>,
    first: Bytes,
    toc: Bytes,
    symbols: Bytes,
    tail: Bytes,
) -> PyResult<Bound<'py, PyBytes>> {
    let built = py.detach(|| header::build(&first, &toc, &symbols, &tail))?;
    Ok(PyBytes::new(py, &built))
}

#[pyclass(frozen, name = "IndexHeader", module = "mimir_rw._native")]
pub struct PyIndexHeader(Arc<IndexHeader>);

#[pymethods]
impl PyIndexHeader {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let header = py.detach(|| IndexHeader::open(&path))?;
        Ok(PyIndexHeader(Arc::new(header)))
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.memory_bytes()
    }

    fn label_names(&self) -> Vec<String> {
        self.0.table.label_names().map(str::to_owned).collect()
    }

    fn label_values(&self, py: Python<'_>, name: &str) -> PyResult<Vec<String>> {
        let mut values = Vec::new();
        py.detach(|| {
            self.0.table.values_from(name, "", |value, _| {
                values.push(value.to_owned());
                true
            })
        })?;
        Ok(values)
    }

    #[pyo3(signature = (matchers, *, gap_bytes_max=512 << 10))]
    fn postings(
        &self,
        py: Python<'_>,
        matchers: Vec<MatcherTuple>,
        gap_bytes_max: u64,
    ) -> PyResult<PostingsPlan> {
        let matchers = compile(matchers)?;
        let plan = py.detach(|| Plan::new(&self.0.table, matchers))?;
        let ranges = match plan.nothing {
            true => Vec::new(),
            false => fetch::list_ranges(&plan.spans(), gap_bytes_max),
        };
        Ok(PostingsPlan {
            header: self.0.clone(),
            plan: Arc::new(plan),
            ranges,
        })
    }
}

#[pyclass(frozen, module = "mimir_rw._native")]
pub struct PostingsPlan {
    header: Arc<IndexHeader>,
    plan: Arc<Plan>,
    ranges: Vec<FileRange>,
}

#[pymethods]
impl PostingsPlan {
    #[getter]
    fn nothing(&self) -> bool {
        self.plan.nothing
    }

    #[getter]
    fn ranges<'py>(&self, py: Python<'py>) -> PyResult<Ranges<'py>> {
        rows(py, &self.ranges, false)
    }

    fn resolve<'py>(
        &self,
        py: Python<'py>,
        fetched: Vec<Bytes>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let ids = py.detach(|| {
            let fetched = Fetched::new(&self.ranges, &fetched)?;
            fetch::resolve(&self.plan, &fetched)
        })?;
        Ok(ids.into_pyarray(py))
    }

    #[pyo3(signature = (ids, mint, maxt, *, gap_bytes_max=512 << 10))]
    fn series(
        &self,
        py: Python<'_>,
        ids: PyReadonlyArray1<'_, u32>,
        mint: i64,
        maxt: i64,
        gap_bytes_max: u64,
    ) -> PyResult<PySeriesFetch> {
        let ids: Vec<u32> = ids.as_array().to_vec();
        let (header, plan) = (self.header.clone(), self.plan.clone());
        let fetch =
            py.detach(|| SeriesFetch::new(header, plan, &ids, (mint, maxt), gap_bytes_max))?;
        Ok(PySeriesFetch(Some(fetch)))
    }
}

fn finished() -> PyErr {
    PyValueError::new_err("this fetch is finished")
}

#[pyclass(name = "SeriesFetch", module = "mimir_rw._native")]
pub struct PySeriesFetch(Option<SeriesFetch>);

#[pymethods]
impl PySeriesFetch {
    #[getter]
    fn ranges<'py>(&self, py: Python<'py>) -> PyResult<Ranges<'py>> {
        let ranges = self.0.as_ref().map_or(&[][..], SeriesFetch::ranges);
        rows(py, ranges, false)
    }

    fn add(&mut self, py: Python<'_>, fetched: Vec<Bytes>) -> PyResult<()> {
        let fetch = self.0.as_mut().ok_or_else(finished)?;
        Ok(py.detach(|| fetch.add(&fetched))?)
    }

    fn finish(&mut self, py: Python<'_>) -> PyResult<FetchedSeries> {
        let fetch = self.0.take().ok_or_else(finished)?;
        let selected = py.detach(|| fetch.finish())?;
        Ok(FetchedSeries(Arc::new(selected)))
    }
}

#[pyclass(frozen, module = "mimir_rw._native")]
pub struct FetchedSeries(Arc<Selected>);

#[pymethods]
impl FetchedSeries {
    #[getter]
    fn labels(&self) -> LabelFrame {
        self.0.labels.clone()
    }

    #[getter]
    fn chunks(&self) -> usize {
        self.0.chunks.len()
    }

    fn chunk_rows_end(&self, start_row: usize, bytes_max: u64) -> PyResult<usize> {
        let len = self.0.labels.len();
        let rows = check_rows(start_row, len, len).map_err(PyIndexError::new_err)?;
        Ok(fetch::chunk_rows_end(&self.0, rows.start, bytes_max))
    }

    #[pyo3(signature = (start_row, end_row, segment_bytes, *, gap_bytes_max=512 << 10))]
    fn fetch_chunks(
        &self,
        start_row: usize,
        end_row: usize,
        segment_bytes: Vec<u64>,
        gap_bytes_max: u64,
    ) -> PyResult<PyChunkFetch> {
        let rows = check_rows(start_row, end_row, self.0.labels.len());
        let rows = rows.map_err(PyIndexError::new_err)?;
        let fetch = ChunkFetch::new(self.0.clone(), rows, segment_bytes, gap_bytes_max)?;
        Ok(PyChunkFetch(Some(fetch)))
    }
}

#[pyclass(name = "ChunkFetch", module = "mimir_rw._native")]
pub struct PyChunkFetch(Option<ChunkFetch>);

#[pymethods]
impl PyChunkFetch {
    #[getter]
    fn ranges<'py>(&self, py: Python<'py>) -> PyResult<Ranges<'py>> {
        let ranges = self.0.as_ref().map_or(&[][..], ChunkFetch::ranges);
        rows(py, ranges, true)
    }

    fn add(&mut self, py: Python<'_>, fetched: Vec<Bytes>) -> PyResult<()> {
        let fetch = self.0.as_mut().ok_or_else(finished)?;
        Ok(py.detach(|| fetch.add(&fetched))?)
    }

    fn finish(&mut self, py: Python<'_>) -> PyResult<EncodedSeriesSet> {
        let fetch = self.0.take().ok_or_else(finished)?;
        let set = py.detach(|| fetch.finish())?;
        Ok(EncodedSeriesSet(Arc::new(set)))
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyIndexHeader>()?;
    m.add_class::<PostingsPlan>()?;
    m.add_class::<PySeriesFetch>()?;
    m.add_class::<FetchedSeries>()?;
    m.add_class::<PyChunkFetch>()?;
    m.add_function(wrap_pyfunction!(index_header_ranges, m)?)?;
    m.add_function(wrap_pyfunction!(build_index_header, m)?)
}
