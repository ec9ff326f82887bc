//! The Python face: checks shapes, then encodes without the GIL.

use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::histogram::HistogramColumn;
use crate::histogram::operators::CellsIn;
use crate::labels::LabelFrame;
use crate::windows::SampleColumns;
use crate::windows::matrix::MatrixIn;

use super::json::{self, Sample, Steps};
use super::number::push_positional;
use super::string::push_text;

#[pyfunction]
#[pyo3(signature = (labels, start_ms, step_ms, values, mask, limit = 0, histograms = None))]
#[allow(clippy::too_many_arguments)]
fn encode_matrix<'py>(
    py: Python<'py>,
    labels: &Bound<'py, LabelFrame>,
    start_ms: i64,
    step_ms: i64,
    values: PyReadonlyArray2<'py, f64>,
    mask: PyReadonlyArray2<'py, bool>,
    limit: usize,
    histograms: Option<(Bound<'py, HistogramColumn>, PyReadonlyArray2<'py, i32>)>,
) -> PyResult<Bound<'py, PyBytes>> {
    let labels = labels.get();
    let samples = MatrixIn::new(&values, &mask)?;
    if samples.rows != labels.len() {
        let (rows, samples) = (labels.len(), samples.rows);
        return Err(PyValueError::new_err(format!(
            "{rows} label sets, values of {samples} rows"
        )));
    }
    let steps = Steps { start_ms, step_ms };
    let cells = match &histograms {
        Some((column, index)) => Some(CellsIn::new(column.get(), index)?),
        None => None,
    };
    if let Some(cells) = &cells {
        cells.same_shape((samples.rows, samples.cols), "histograms")?;
    }
    Ok(to_bytes(py, || {
        json::matrix(labels, steps, &samples, cells.as_ref(), limit)
    }))
}

#[pyfunction]
#[pyo3(signature = (labels, time_ms, values, mask, limit = 0, histograms = None))]
fn encode_vector<'py>(
    py: Python<'py>,
    labels: &Bound<'py, LabelFrame>,
    time_ms: i64,
    values: PyReadonlyArray1<'py, f64>,
    mask: PyReadonlyArray1<'py, bool>,
    limit: usize,
    histograms: Option<(Bound<'py, HistogramColumn>, PyReadonlyArray2<'py, i32>)>,
) -> PyResult<Bound<'py, PyBytes>> {
    let labels = labels.get();
    let (values, mask) = (values.as_array(), mask.as_array());
    if values.len() != labels.len() || mask.len() != labels.len() {
        let (rows, values, mask) = (labels.len(), values.len(), mask.len());
        return Err(PyValueError::new_err(format!(
            "{rows} label sets, {values} values, {mask} entries in the mask"
        )));
    }
    let cells = match &histograms {
        Some((column, index)) => Some(CellsIn::new(column.get(), index)?),
        None => None,
    };
    if let Some(cells) = &cells {
        cells.same_shape((labels.len(), 1), "histograms")?;
    }
    Ok(to_bytes(py, || {
        let floats = values.iter().zip(mask.iter());
        let samples = floats
            .enumerate()
            .map(|(row, (&value, &present))| match &cells {
                _ if present => Some(Sample::Float(value)),
                Some(cells) => cells.at(cells.row(row)[0]).map(|h| Sample::Histogram(h)),
                None => None,
            });
        json::vector(labels, time_ms, samples, limit)
    }))
}

#[pyfunction]
#[pyo3(signature = (labels, columns, limit = 0))]
fn encode_range_samples<'py>(
    py: Python<'py>,
    labels: &Bound<'py, LabelFrame>,
    columns: &Bound<'py, SampleColumns>,
    limit: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let (labels, columns) = (labels.get(), columns.get());
    if columns.rows() != labels.len() {
        let (rows, samples) = (labels.len(), columns.rows());
        return Err(PyValueError::new_err(format!(
            "{rows} label sets, samples of {samples} rows"
        )));
    }
    Ok(to_bytes(py, || json::range_samples(labels, columns, limit)))
}

#[pyfunction]
#[pyo3(signature = (labels, limit = 0))]
fn encode_label_sets<'py>(
    py: Python<'py>,
    labels: &Bound<'py, LabelFrame>,
    limit: usize,
) -> Bound<'py, PyBytes> {
    let labels = labels.get();
    to_bytes(py, || json::label_sets(labels, limit))
}

#[pyfunction]
#[pyo3(signature = (texts, limit = 0))]
fn encode_strings<'py>(py: Python<'py>, texts: Vec<String>, limit: usize) -> Bound<'py, PyBytes> {
    to_bytes(py, || {
        json::list(texts.iter(), limit, |out, text| push_text(out, text))
    })
}

#[pyfunction]
fn encode_scalar(py: Python<'_>, time_ms: i64, value: f64) -> Bound<'_, PyBytes> {
    to_bytes(py, || {
        pair(time_ms, |out| {
            out.push(b'"');
            push_positional(out, value);
            out.push(b'"');
        })
    })
}

#[pyfunction]
fn encode_string<'py>(py: Python<'py>, time_ms: i64, text: &str) -> Bound<'py, PyBytes> {
    to_bytes(py, || pair(time_ms, |out| push_text(out, text)))
}

/// `[time,item]`, the time an ordinary JSON number of seconds.
fn pair(time_ms: i64, push: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![b'['];
    push_positional(&mut out, time_ms as f64 / 1000.0);
    out.push(b',');
    push(&mut out);
    out.push(b']');
    out
}

#[pyfunction]
fn format_value(value: f64) -> String {
    let mut out = Vec::new();
    super::number::push_value(&mut out, value);
    out.iter().map(|&b| char::from(b)).collect()
}

fn to_bytes<F>(py: Python<'_>, encode: F) -> Bound<'_, PyBytes>
where
    F: FnOnce() -> Vec<u8> + Send,
{
    PyBytes::new(py, &py.detach(encode))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(encode_matrix, m)?)?;
    m.add_function(wrap_pyfunction!(encode_vector, m)?)?;
    m.add_function(wrap_pyfunction!(encode_range_samples, m)?)?;
    m.add_function(wrap_pyfunction!(encode_label_sets, m)?)?;
    m.add_function(wrap_pyfunction!(encode_strings, m)?)?;
    m.add_function(wrap_pyfunction!(encode_scalar, m)?)?;
    m.add_function(wrap_pyfunction!(encode_string, m)?)?;
    m.add_function(wrap_pyfunction!(format_value, m)?)
}
