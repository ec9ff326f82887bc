//! `WriteBatch`: what one push means, as columns. Written by the `wire` kernels, read by the `head` kernels.
//!
//! Rows are series. Row `i` owns the samples `sample_end[i-1]..sample_end[i]` (`sample_end[-1]` is 0).
//! The label set of row `i` is `buf[label_range[i]]`: the canonical protobuf encoding of its labels, that is,
//! one field-1 `Label` message after another, sorted by name, no duplicates, no empty values
//! (`0a len 0a n name 12 m value`). `hash[i]` is the keyed 128-bit hash of exactly those bytes and `token[i]`
//! the ring token (FNV-1 over tenant, then names and values; ring-and-gossip.md section 6).
//!
//! A row without label bytes is a reference: the receiver is believed to know the series by its hash (design.md 4). Its
//! token is 0. What a hash means depends on the key, so a batch knows which one it was made with.
//!
//! Native histograms and exemplars of a row are ranges of their own lists in the same way; most batches have neither,
//! and nearly none start timestamps, so these columns are empty where nothing is in them.
//!
//! A batch never changes once built; kernels share it without the GIL. Batches made of parts of another share its
//! label bytes.

use std::ops::Range;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::histogram::{Histogram, HistogramColumn};
use crate::wire::batch_codec;
use crate::wire::series::{SeriesHasher, canonical_labels};

/// Metadata of one metric family, as sent by remote write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gaugehistogram, 5 summary, 6 info, 7 stateset.
    pub kind: u8,
    pub name: String,
    pub help: String,
    pub unit: String,
}

#[derive(Clone, Debug)]
pub struct HistogramSample {
    pub ts: i64,
    /// 0: unknown.
    pub start_ts: i64,
    pub histogram: Arc<Histogram>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub ts: i64,
    pub value: f64,
    /// In the canonical encoding of a label set; may be empty.
    pub labels: Vec<u8>,
}

#[pyclass(frozen, module = "mimir_rw._native")]
#[derive(Clone, Default, Debug)]
pub struct WriteBatch {
    /// `SeriesHasher::tag` of the key behind `hash`.
    pub key_tag: u64,
    pub buf: Arc<Vec<u8>>,
    /// Start and length of each row's canonical labels in `buf`.
    pub label_range: Vec<(u32, u32)>,
    pub hash: Vec<u128>,
    pub token: Vec<u32>,
    pub sample_end: Vec<u32>,
    /// Milliseconds since the epoch, one per sample, in the order sent.
    pub ts: Vec<i64>,
    pub values: Vec<f64>,
    /// Start timestamps of the samples, 0 where unknown. Empty: none is known.
    pub start_ts: Vec<i64>,
    /// As `sample_end`, into `histograms`. Empty: no row has any.
    pub histogram_end: Vec<u32>,
    pub histograms: Vec<HistogramSample>,
    /// As `sample_end`, into `exemplars`. Empty: no row has any.
    pub exemplar_end: Vec<u32>,
    pub exemplars: Vec<Arc<Exemplar>>,
    pub metadata: Vec<Metadata>,
}

impl WriteBatch {
    pub fn labels(&self, row: usize) -> &[u8] {
        let (start, len) = self.label_range[row];
        &self.buf[start as usize..(start + len) as usize]
    }

    pub fn rows(&self) -> usize {
        self.label_range.len()
    }

    pub fn is_reference(&self, row: usize) -> bool {
        self.label_range[row].1 == 0
    }

    pub fn samples(&self, row: usize) -> Range<usize> {
        range_of(&self.sample_end, row)
    }

    pub fn histograms_of(&self, row: usize) -> &[HistogramSample] {
        &self.histograms[self.histogram_range(row)]
    }

    pub fn histogram_range(&self, row: usize) -> Range<usize> {
        match self.histogram_end.is_empty() {
            true => 0..0,
            false => range_of(&self.histogram_end, row),
        }
    }

    pub fn exemplars_of(&self, row: usize) -> &[Arc<Exemplar>] {
        match self.exemplar_end.is_empty() {
            true => &[],
            false => &self.exemplars[range_of(&self.exemplar_end, row)],
        }
    }

    /// Rows by number, each in range.
    pub fn take(&self, rows: &[u32], metadata: bool) -> Self {
        let mut taken = Self {
            key_tag: self.key_tag,
            buf: self.buf.clone(),
            label_range: pick(&self.label_range, rows),
            hash: pick(&self.hash, rows),
            token: pick(&self.token, rows),
            sample_end: Vec::with_capacity(rows.len()),
            ts: Vec::with_capacity(rows.len()),
            values: Vec::with_capacity(rows.len()),
            ..Self::default()
        };
        for &row in rows {
            let samples = self.samples(row as usize);
            taken.ts.extend_from_slice(&self.ts[samples.clone()]);
            taken.values.extend_from_slice(&self.values[samples]);
            taken.sample_end.push(taken.ts.len() as u32);
        }
        taken.take_rest(self, rows);
        if metadata {
            taken.metadata.clone_from(&self.metadata);
        }
        taken
    }

    /// Start timestamps, histograms and exemplars of rows of another batch.
    fn take_rest(&mut self, from: &Self, rows: &[u32]) {
        if !from.start_ts.is_empty() {
            let samples = rows.iter().map(|&row| from.samples(row as usize));
            self.start_ts = samples
                .flat_map(|samples| &from.start_ts[samples])
                .copied()
                .collect();
        }
        if !from.histograms.is_empty() {
            for &row in rows {
                self.histograms
                    .extend_from_slice(from.histograms_of(row as usize));
                self.histogram_end.push(self.histograms.len() as u32);
            }
        }
        if !from.exemplars.is_empty() {
            for &row in rows {
                self.exemplars
                    .extend_from_slice(from.exemplars_of(row as usize));
                self.exemplar_end.push(self.exemplars.len() as u32);
            }
        }
    }

    /// All rows of batches with one key, one batch after another. None: too much for one batch.
    pub fn concat(batches: &[&Self]) -> Option<Self> {
        let mut whole = Self {
            key_tag: batches.first().map_or(0, |batch| batch.key_tag),
            ..Self::default()
        };
        let mut buf = Vec::new();
        for batch in batches {
            for row in 0..batch.rows() {
                let labels = batch.labels(row);
                let start = u32::try_from(buf.len()).ok()?;
                whole.label_range.push((start, labels.len() as u32));
                buf.extend_from_slice(labels);
            }
            let samples = whole.ts.len();
            u32::try_from(samples + batch.ts.len()).ok()?;
            whole
                .sample_end
                .extend(batch.sample_end.iter().map(|end| end + samples as u32));
            whole.hash.extend_from_slice(&batch.hash);
            whole.token.extend_from_slice(&batch.token);
            whole.ts.extend_from_slice(&batch.ts);
            whole.values.extend_from_slice(&batch.values);
            whole.histograms.extend_from_slice(&batch.histograms);
            whole.exemplars.extend_from_slice(&batch.exemplars);
            whole.metadata.extend_from_slice(&batch.metadata);
        }
        whole.concat_rest(batches)?;
        u32::try_from(buf.len()).ok()?;
        whole.buf = Arc::new(buf);
        Some(whole)
    }

    /// The columns that are empty where nothing is in them.
    fn concat_rest(&mut self, batches: &[&Self]) -> Option<()> {
        if batches.iter().any(|batch| !batch.start_ts.is_empty()) {
            for batch in batches {
                self.start_ts.extend_from_slice(&batch.start_ts);
                let unknown = batch.ts.len() - batch.start_ts.len();
                self.start_ts.resize(self.start_ts.len() + unknown, 0);
            }
        }
        if !self.histograms.is_empty() {
            self.histogram_end = concat_ends(batches, |batch| &batch.histogram_end)?;
        }
        if !self.exemplars.is_empty() {
            self.exemplar_end = concat_ends(batches, |batch| &batch.exemplar_end)?;
        }
        Some(())
    }

    /// Histograms, exemplars or start timestamps: what not every peer understands.
    pub fn has_more_than_floats(&self) -> bool {
        !(self.histograms.is_empty() && self.exemplars.is_empty() && self.start_ts.is_empty())
    }

    /// The same rows under another key. References cannot be hashed again: theirs becomes 0, the hash of no series.
    pub fn rehashed(&self, hasher: &SeriesHasher) -> Self {
        let hash = (0..self.rows()).map(|row| match self.is_reference(row) {
            true => 0,
            false => hasher.hash(self.labels(row)),
        });
        Self {
            key_tag: hasher.tag(),
            hash: hash.collect(),
            ..self.clone()
        }
    }
}

fn range_of(ends: &[u32], row: usize) -> Range<usize> {
    let start = match row {
        0 => 0,
        _ => ends[row - 1],
    };
    start as usize..ends[row] as usize
}

/// The ends of the rows of all batches; a batch without ends has rows with nothing in them.
fn concat_ends<'a>(
    batches: &[&'a WriteBatch],
    ends_of: impl Fn(&'a WriteBatch) -> &'a Vec<u32>,
) -> Option<Vec<u32>> {
    let mut whole = Vec::new();
    let mut before = 0u32;
    for &batch in batches {
        let ends = ends_of(batch);
        before.checked_add(ends.last().copied().unwrap_or(0))?;
        match ends.is_empty() {
            true => whole.resize(whole.len() + batch.rows(), before),
            false => whole.extend(ends.iter().map(|end| before + end)),
        }
        before = whole.last().copied().unwrap_or(0);
    }
    Some(whole)
}

fn pick<T: Copy>(column: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|&row| column[row as usize]).collect()
}

impl WriteBatch {
    /// Row numbers from Python, checked; `None` means all.
    pub fn row_numbers(&self, rows: Option<PyReadonlyArray1<'_, u32>>) -> PyResult<Vec<u32>> {
        let Some(rows) = rows else {
            return Ok((0..self.rows() as u32).collect());
        };
        let rows = rows.as_array().to_vec();
        match rows.iter().all(|&row| (row as usize) < self.rows()) {
            true => Ok(rows),
            false => Err(no_row()),
        }
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
    fn histogram_count(&self) -> usize {
        self.histograms.len()
    }

    #[getter]
    fn exemplar_count(&self) -> usize {
        self.exemplars.len()
    }

    #[getter]
    fn extended(&self) -> bool {
        self.has_more_than_floats()
    }

    #[getter]
    fn metadata_count(&self) -> usize {
        self.metadata.len()
    }

    /// Bytes of labels, samples, histograms, exemplars and metadata.
    #[getter]
    fn byte_size(&self) -> usize {
        let row = size_of::<u128>() + size_of::<(u32, u32)>() + 2 * size_of::<u32>();
        let metadata = self.metadata.iter();
        let labels = self.label_range.iter().map(|&(_, len)| len as usize);
        let histograms = self.histograms.iter();
        let exemplars = self.exemplars.iter();
        labels.sum::<usize>()
            + self.label_range.len() * row
            + self.ts.len() * 16
            + self.start_ts.len() * 8
            + histograms
                .map(|h| size_of::<HistogramSample>() + h.histogram.byte_size())
                .sum::<usize>()
            + exemplars
                .map(|e| size_of::<Exemplar>() + e.labels.len())
                .sum::<usize>()
            + metadata
                .map(|m| m.name.len() + m.help.len() + m.unit.len())
                .sum::<usize>()
    }

    #[getter]
    fn reference_rows(&self) -> usize {
        self.label_range.iter().filter(|range| range.1 == 0).count()
    }

    fn has_labels<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        let labelled: Vec<bool> = self.label_range.iter().map(|range| range.1 > 0).collect();
        labelled.into_pyarray(py)
    }

    /// How many samples and histograms each row has.
    fn row_counts<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<u32>>) {
        let rows = || 0..self.rows();
        let samples: Vec<u32> = rows().map(|row| self.samples(row).len() as u32).collect();
        let histograms = rows().map(|row| self.histogram_range(row).len() as u32);
        let histograms: Vec<u32> = histograms.collect();
        (samples.into_pyarray(py), histograms.into_pyarray(py))
    }

    #[pyo3(name = "take", signature = (rows, *, metadata=false))]
    fn py_take(
        &self,
        py: Python<'_>,
        rows: PyReadonlyArray1<'_, u32>,
        metadata: bool,
    ) -> PyResult<Self> {
        let rows = self.row_numbers(Some(rows))?;
        let samples = |&row: &u32| {
            let row = row as usize;
            let others = self.histograms_of(row).len() + self.exemplars_of(row).len();
            (self.samples(row).len() + others) as u64
        };
        if rows.iter().map(samples).sum::<u64>() > u64::from(u32::MAX) {
            return Err(PyValueError::new_err(TOO_LARGE));
        }
        Ok(py.detach(|| self.take(&rows, metadata)))
    }

    #[staticmethod]
    #[pyo3(name = "concat")]
    fn py_concat(py: Python<'_>, batches: Vec<Py<WriteBatch>>) -> PyResult<Self> {
        let batches: Vec<&Self> = batches.iter().map(Py::get).collect();
        if batches
            .windows(2)
            .any(|two| two[0].key_tag != two[1].key_tag)
        {
            let text = "the batches were hashed with different keys";
            return Err(PyValueError::new_err(text));
        }
        let whole = py.detach(|| Self::concat(&batches));
        whole.ok_or_else(|| PyValueError::new_err(TOO_LARGE))
    }

    #[pyo3(signature = (rows=None, *, labelled=None, metadata=false))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        rows: Option<PyReadonlyArray1<'py, u32>>,
        labelled: Option<PyReadonlyArray1<'py, u32>>,
        metadata: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let rows = self.row_numbers(rows)?;
        let labelled = match labelled {
            Some(labelled) => Some(self.row_numbers(Some(labelled))?),
            None => None,
        };
        let encoded = py.detach(|| batch_codec::encode(self, &rows, labelled.as_deref(), metadata));
        Ok(PyBytes::new(py, &encoded))
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

    /// (time, start time or 0, whether it came as floats) of each histogram, and the histograms.
    #[allow(clippy::type_complexity)]
    fn row_histograms(&self, row: usize) -> PyResult<(Vec<(i64, i64, bool)>, HistogramColumn)> {
        if row >= self.rows() {
            return Err(no_row());
        }
        let histograms = self.histograms_of(row).iter();
        let is_float = |h: &Histogram| matches!(h, Histogram::Float(_));
        let facts = histograms
            .clone()
            .map(|h| (h.ts, h.start_ts, is_float(&h.histogram)));
        let items = histograms.clone().map(|h| Arc::new(h.histogram.to_float()));
        let column = HistogramColumn {
            items: items.collect(),
        };
        Ok((facts.collect(), column))
    }

    /// (time, value, labels) of each exemplar.
    #[allow(clippy::type_complexity)]
    fn row_exemplars(&self, row: usize) -> PyResult<Vec<(i64, f64, Vec<(String, String)>)>> {
        if row >= self.rows() {
            return Err(no_row());
        }
        let labels = |e: &Exemplar| {
            canonical_labels(&e.labels)
                .map(|(name, value)| (lossy(name), lossy(value)))
                .collect()
        };
        let exemplars = self.exemplars_of(row).iter();
        Ok(exemplars.map(|e| (e.ts, e.value, labels(e))).collect())
    }

    fn row_start_ts(&self, row: usize) -> PyResult<Vec<i64>> {
        if row >= self.rows() {
            return Err(no_row());
        }
        match self.start_ts.is_empty() {
            true => Ok(vec![0; self.samples(row).len()]),
            false => Ok(self.start_ts[self.samples(row)].to_vec()),
        }
    }

    fn metadata_rows(&self) -> Vec<(u8, String, String, String)> {
        let row = |m: &Metadata| (m.kind, m.name.clone(), m.help.clone(), m.unit.clone());
        self.metadata.iter().map(row).collect()
    }
}

const TOO_LARGE: &str = "too many samples or label bytes for one batch";

fn no_row() -> PyErr {
    PyIndexError::new_err("the batch has no such row")
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<WriteBatch>()
}
