//! The Python face of `LabelFrame`: checks what comes in, then calls the kernels without the GIL.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::factor::Factor;
use super::frame::{FrameBuilder, LabelFrame};
use super::frame_codec;
use super::union::Union;
use crate::bytes::Bytes;
use crate::error::DecodeError;

type Ids<'py> = Bound<'py, PyArray1<i64>>;

#[pymethods]
impl LabelFrame {
    fn __len__(&self) -> usize {
        self.len()
    }

    #[getter]
    fn names(&self) -> Vec<&str> {
        self.columns().iter().map(|column| &*column.name).collect()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.memory_bytes()
    }

    #[staticmethod]
    fn from_rows(rows: Vec<Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut builder = FrameBuilder::default();
        for row in &rows {
            for (name, value) in row.iter() {
                let name = name.cast_into::<PyString>()?;
                let value = value.cast_into::<PyString>()?;
                builder.label(name.to_str()?, value.to_str()?);
            }
            builder.end_row();
        }
        Ok(builder.finish())
    }

    #[staticmethod]
    #[pyo3(name = "empty_rows")]
    fn py_empty_rows(n: usize) -> PyResult<Self> {
        i32::try_from(n).map_err(|_| PyValueError::new_err("a frame has less than 2^31 rows"))?;
        Ok(Self::empty_rows(n))
    }

    #[staticmethod]
    #[pyo3(name = "concat")]
    fn py_concat(py: Python<'_>, frames: Vec<Bound<'_, LabelFrame>>) -> Self {
        let frames: Vec<&Self> = frames.iter().map(Bound::get).collect();
        py.detach(|| Self::concat(&frames))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let encoded = py.detach(|| {
            let mut out = Vec::new();
            frame_codec::encode(self, 0..self.len(), &mut out);
            out
        });
        PyBytes::new(py, &encoded)
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: Bytes) -> PyResult<Self> {
        let decoded = py.detach(|| frame_codec::decode_all(&data));
        decoded.map_err(|e| DecodeError::new_err(format!("cannot decode a label frame: {e}")))
    }

    #[staticmethod]
    fn union_sorted(py: Python<'_>, frames: Vec<Bound<'_, LabelFrame>>) -> Self {
        let frames: Vec<&Self> = frames.iter().map(Bound::get).collect();
        py.detach(|| Union::new(&frames).labels)
    }

    fn row<'py>(&self, py: Python<'py>, i: usize) -> PyResult<Bound<'py, PyDict>> {
        self.check_row(i)?;
        let labels = PyDict::new(py);
        for (name, value) in self.labels(i) {
            labels.set_item(name, value)?;
        }
        Ok(labels)
    }

    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        (0..self.len()).map(|i| self.row(py, i)).collect()
    }

    /// The series as Prometheus prints it: `up{a="b"}`.
    fn format_row(&self, i: usize) -> PyResult<String> {
        self.check_row(i)?;
        Ok(self.format_metric(i))
    }

    #[pyo3(name = "format_labels")]
    fn py_format_labels(&self, i: usize) -> PyResult<String> {
        self.check_row(i)?;
        Ok(self.format_labels(i))
    }

    #[pyo3(name = "take")]
    fn py_take(&self, py: Python<'_>, rows: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let rows = rows.as_array();
        let len = self.len();
        if let Some(bad) = rows.iter().find(|&&row| row < 0 || row as usize >= len) {
            return Err(PyIndexError::new_err(format!("row {bad} of {len}")));
        }
        Ok(py.detach(|| self.take(rows.iter().map(|&row| row as usize))))
    }

    fn keep(&self, names: Vec<String>) -> Self {
        self.filter_columns(among(&names))
    }

    fn drop(&self, names: Vec<String>) -> Self {
        let listed = among(&names);
        self.filter_columns(|name| !listed(name))
    }

    fn codes<'py>(&self, py: Python<'py>, name: &str) -> Bound<'py, PyArray1<i32>> {
        match self.column(name) {
            Some(column) => PyArray1::from_slice(py, &column.codes),
            None => vec![-1; self.len()].into_pyarray(py),
        }
    }

    fn dictionary(&self, name: &str) -> Vec<&str> {
        let column = self.column(name);
        column.map_or_else(Vec::new, |column| column.dictionary.iter().collect())
    }

    #[pyo3(name = "with_column")]
    fn py_with_column(
        &self,
        name: &str,
        dictionary: Vec<String>,
        codes: PyReadonlyArray1<'_, i32>,
    ) -> PyResult<Self> {
        let codes: Vec<i32> = codes.as_array().to_vec();
        if codes.len() != self.len() {
            let (rows, given) = (self.len(), codes.len());
            return Err(PyValueError::new_err(format!(
                "{given} codes for {rows} rows"
            )));
        }
        let valid = -1..dictionary.len() as i64;
        if let Some(bad) = codes
            .iter()
            .find(|&&code| !valid.contains(&i64::from(code)))
        {
            return Err(PyIndexError::new_err(format!(
                "code {bad} of {}",
                valid.end
            )));
        }
        Ok(self.with_column(name, &dictionary, &codes))
    }

    #[pyo3(name = "group")]
    fn py_group<'py>(
        &self,
        py: Python<'py>,
        names: Vec<String>,
        without: bool,
    ) -> (Ids<'py>, Self) {
        let listed = among(&names);
        let (factor, groups) = py.detach(|| self.group(|name| listed(name) != without));
        (to_ids(py, &factor.ids), groups)
    }

    #[pyo3(name = "match_ids")]
    fn py_match_ids<'py>(
        &self,
        py: Python<'py>,
        other: Bound<'py, LabelFrame>,
        names: Vec<String>,
        ignoring: bool,
    ) -> (Ids<'py>, Ids<'py>, usize) {
        let listed = among(&names);
        let other = other.get();
        let factor: Factor = py.detach(|| self.match_ids(other, |name| listed(name) != ignoring));
        let (own, others) = factor.ids.split_at(self.len());
        (to_ids(py, own), to_ids(py, others), factor.count)
    }

    fn row_ids<'py>(&self, py: Python<'py>) -> (Ids<'py>, usize) {
        let factor = py.detach(|| self.factorise(|_| true));
        (to_ids(py, &factor.ids), factor.count)
    }

    #[pyo3(name = "hashes")]
    fn py_hashes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        py.detach(|| self.hashes()).into_pyarray(py)
    }

    #[pyo3(name = "sort_order")]
    fn py_sort_order<'py>(&self, py: Python<'py>) -> Ids<'py> {
        py.detach(|| self.sort_order()).into_pyarray(py)
    }
}

impl LabelFrame {
    fn check_row(&self, i: usize) -> PyResult<()> {
        if i < self.len() {
            return Ok(());
        }
        Err(PyIndexError::new_err(format!("row {i} of {}", self.len())))
    }
}

fn among(names: &[String]) -> impl Fn(&str) -> bool {
    |name| names.iter().any(|listed| listed == name)
}

fn to_ids<'py>(py: Python<'py>, ids: &[u32]) -> Ids<'py> {
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    ids.into_pyarray(py)
}
