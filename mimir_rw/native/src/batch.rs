//! `WriteBatch`: what one push means, as columns. Written by the `wire` kernels, read by the `head` kernels.
//!
//! Rows are series. Row `i` owns the samples `sample_end[i-1]..sample_end[i]` (`sample_end[-1]` is 0).
//! The label set of row `i` is `buf[label_range[i]]`: the canonical protobuf encoding of its labels, that is,
//! one field-1 `Label` message after another, sorted by name, no duplicates, no empty values
//! (`0a len 0a n name 12 m value`). `hash[i]` is the keyed 128-bit hash of exactly those bytes and `token[i]`
//! the ring token (FNV-1 over tenant, then names and values; ring-and-gossip.md section 6).
//!
//! A batch never changes once built; kernels share it without the GIL.

use pyo3::prelude::*;

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
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<WriteBatch>()
}
