//! `WriteBatch`: what one push means, as columns. Written by the `wire` kernels, read by the `head` kernels.
//!
//! Rows are series. Row `i` owns the samples `sample_end[i-1]..sample_end[i]` (`sample_end[-1]` is 0).
//! The label set of row `i` is `buf[label_range[i]]`: the canonical protobuf encoding of its labels, that is,
//! one field-1 `Label` message after another, sorted by name, no duplicates, no empty values
//! (`0a len 0a n name 12 m value`). `hash[i]` is the keyed 128-bit hash of exactly those bytes and `token[i]`
//! the ring token (FNV-1 over tenant, then names and values; ring-and-gossip.md section 6).
//!
//! A batch never changes once built; kernels share it without the GIL.

use numpy::PyArray1;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::wire::series::canonical_labels;

/// Metadata of one metric family, as sent by remote write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gaugehistogram, 5 summary, 6 info, 7 stateset.
    pub kind: u8,
    pub name: String,
    pub help: String,
    pub unit: String,
}

#[pyclass(frozen, module = "mimir_rw._native")]
#[derive(Default, Debug)]
pub struct WriteBatch {
    pub buf: Vec<u8>,
    /// Start and length of each row's canonical labels in `buf`.
    pub label_range: Vec<(u32, u32)>,
    pub hash: Vec<u128>,
    pub token: Vec<u32>,
    pub sample_end: Vec<u32>,
    /// Milliseconds since the epoch, one per sample, in the order sent.
    pub ts: Vec<i64>,
    pub values: Vec<f64>,
    pub metadata: Vec<Metadata>,
}

impl WriteBatch {
    pub fn labels(&self, row: usize) -> &[u8] {
        let (start, len) = self.label_range[row];
        &self.buf[start as usize..(start + len) as usize]
    }

    pub fn samples(&self, row: usize) -> std::ops::Range<usize> {
        let start = if row == 0 {
            0
        } else {
            self.sample_end[row - 1]
        };
        start as usize..self.sample_end[row] as usize
    }
}

#[pymethods]
impl WriteBatch {
    #[getter]
    fn series_count(&self) -> usize {
        self.label_range.len()
    }

    #[getter]
    fn sample_count(&self) -> usize {
        self.ts.len()
    }

    #[getter]
    fn metadata_count(&self) -> usize {
        self.metadata.len()
    }

    /// Bytes of labels, samples and metadata.
    #[getter]
    fn byte_size(&self) -> usize {
        let row = size_of::<u128>() + size_of::<(u32, u32)>() + 2 * size_of::<u32>();
        let metadata = self.metadata.iter();
        self.buf.len()
            + self.label_range.len() * row
            + self.ts.len() * 16
            + metadata
                .map(|m| m.name.len() + m.help.len() + m.unit.len())
                .sum::<usize>()
    }

    fn tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, &self.token)
    }

    fn hash_bytes(&self, row: usize) -> PyResult<[u8; 16]> {
        Ok(self.hash.get(row).ok_or_else(no_row)?.to_le_bytes())
    }

    fn row_labels(&self, row: usize) -> PyResult<Vec<(String, String)>> {
        if row >= self.label_range.len() {
            return Err(no_row());
        }
        Ok(canonical_labels(self.labels(row))
            .map(|(name, value)| (lossy(name), lossy(value)))
            .collect())
    }

    fn row_samples(&self, row: usize) -> PyResult<Vec<(i64, f64)>> {
        if row >= self.sample_end.len() {
            return Err(no_row());
        }
        let samples = self.samples(row);
        let times = self.ts[samples.clone()].iter().copied();
        Ok(times.zip(self.values[samples].iter().copied()).collect())
    }

    fn metadata_rows(&self) -> Vec<(u8, String, String, String)> {
        let row = |m: &Metadata| (m.kind, m.name.clone(), m.help.clone(), m.unit.clone());
        self.metadata.iter().map(row).collect()
    }
}

fn no_row() -> PyErr {
    PyIndexError::new_err("the batch has no such row")
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<WriteBatch>()
}
