//! The head's Python face: arguments, exceptions, the GIL. Nothing is decided here.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::admission::{Limits, Outcome, Refused};
use super::core::{self, AppendError, Bounds};
use super::owned::TokenRanges;
use super::python_upkeep::HeadUpkeep;
use super::replay::ReplayError;
use super::select;
use super::series::{CHUNK_RANGE_MS, OOO_SAMPLES_MAX};
use super::snapshot::{Capture, Snapshot};
use super::wal::fs::OsFs;
use super::wal::log::{Fsync, LogOptions};
use crate::batch::WriteBatch;
use crate::error::{DataDamaged, DecodeError};
use crate::labels::{CompiledMatcher, LabelFrame, MatchType};
use crate::series_set::exemplars::Exemplars;
use crate::series_set::part;
use crate::series_set::python::{ExemplarSet, PyLooks, columns};
use crate::series_set::runs::{RunSource, check_rows};
use crate::windows::SampleColumns;

create_exception!(mimir_rw._native, WalFailed, PyException);

impl From<AppendError> for PyErr {
    fn from(e: AppendError) -> Self {
        match e {
            AppendError::Log(e) => WalFailed::new_err((e.text, e.disk_full)),
            AppendError::Unusable(why) => WalFailed::new_err((why, false)),
            AppendError::Batch(e) => DecodeError::new_err(e.0),
        }
    }
}

impl From<ReplayError> for PyErr {
    fn from(e: ReplayError) -> Self {
        match e {
            ReplayError::Io(text) => WalFailed::new_err((text, false)),
            ReplayError::Fatal(text) => DataDamaged::new_err(text),
        }
    }
}

/// (type, name, value), as `Matcher.as_tuple` in Python.
type MatcherTuple = (u8, String, String);

fn compile(matchers: Vec<MatcherTuple>) -> PyResult<Vec<CompiledMatcher>> {
    let compiled = matchers.into_iter().map(|(kind, name, value)| {
        let unknown = || PyValueError::new_err(format!("unknown matcher type {kind}"));
        let kind = MatchType::from_number(kind).ok_or_else(unknown)?;
        Ok(CompiledMatcher::new(kind, &name, &value)?)
    });
    compiled.collect()
}

/// Half-open ranges of ring tokens as rows of two, of 64 or 32 bits.
fn token_ranges(ranges: &Bound<'_, PyAny>) -> PyResult<TokenRanges> {
    let rows: Vec<(i64, i64)> = match ranges.extract::<PyReadonlyArray2<'_, u32>>() {
        Ok(narrow) => pairs(
            narrow
                .as_array()
                .rows()
                .into_iter()
                .map(|r| r.iter().map(|&t| i64::from(t)).collect()),
        ),
        Err(_) => {
            let wide = ranges.extract::<PyReadonlyArray2<'_, i64>>()?;
            pairs(wide.as_array().rows().into_iter().map(|r| r.to_vec()))
        }
    }
    .ok_or_else(|| PyValueError::new_err("ranges must have the shape (k, 2)"))?;
    let wrong = || PyValueError::new_err("a range is not within 0..=2^32");
    TokenRanges::new(rows.into_iter()).ok_or_else(wrong)
}

fn pairs(rows: impl Iterator<Item = Vec<i64>>) -> Option<Vec<(i64, i64)>> {
    rows.map(|row| match row[..] {
        [start, end] => Some((start, end)),
        _ => None,
    })
    .collect()
}

/// Samples of a push refused for one reason.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct RefusedSamples(Refused);

#[pymethods]
impl RefusedSamples {
    #[getter]
    fn error_id(&self) -> &'static str {
        self.0.why.id()
    }

    #[getter]
    fn count(&self) -> u64 {
        self.0.count
    }

    #[getter]
    fn labels(&self) -> &str {
        &self.0.labels
    }

    #[getter]
    fn time_ms(&self) -> i64 {
        self.0.t
    }

    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, &self.0.rows)
    }
}

#[pyclass(frozen, module = "mimir_rw._native")]
pub struct AppendResult(Outcome);

#[pymethods]
impl AppendResult {
    #[getter]
    fn samples_stored(&self) -> u64 {
        self.0.stored
    }

    #[getter]
    fn histograms_stored(&self) -> u64 {
        self.0.histograms_stored
    }

    #[getter]
    fn refused(&self) -> Vec<RefusedSamples> {
        let refused = self.0.refused.iter().cloned();
        refused.map(RefusedSamples).collect()
    }

    #[getter]
    fn exemplars_stored(&self) -> u64 {
        self.0.exemplars_stored
    }

    #[getter]
    fn exemplars_refused(&self) -> Vec<RefusedSamples> {
        let refused = self.0.exemplars_refused.iter().cloned();
        refused.map(RefusedSamples).collect()
    }

    #[getter]
    fn unresolved<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, &self.0.unresolved)
    }
}

#[pyclass(frozen, get_all, module = "mimir_rw._native")]
pub struct ReplayReport {
    segments: u64,
    records: u64,
    samples: u64,
    samples_unknown_series: u64,
    exemplars: u64,
    records_unknown: u64,
    torn: u64,
    torn_bytes: u64,
    damage: Vec<String>,
}

#[pyclass(frozen, get_all, module = "mimir_rw._native")]
pub struct HeadStats {
    series: u64,
    series_created: u64,
    series_removed: u64,
    owned_series: u64,
    chunks: u64,
    samples_appended: u64,
    ooo_samples_appended: u64,
    histogram_samples_appended: u64,
    exemplars: u64,
    exemplars_appended: u64,
    exemplars_out_of_order: u64,
    exemplar_series: u64,
    exemplar_last_time_ms: Option<i64>,
    min_time_ms: Option<i64>,
    max_time_ms: Option<i64>,
    memory_bytes: u64,
    wal_bytes_written: u64,
    wal_segment: u32,
    wal_syncs_failed: u64,
    wal_unsynced_segments: bool,
}

#[pyclass(frozen, module = "mimir_rw._native")]
pub struct Head(Arc<core::Head>);

#[pymethods]
impl Head {
    #[new]
    #[pyo3(signature = (directory, *, tenant, hash_key, segment_bytes=128 << 20, fsync="segment", compress=false,
                        ooo_chunk_samples=OOO_SAMPLES_MAX, exemplars_max=0, range_ms=CHUNK_RANGE_MS, floor=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        tenant: &str,
        hash_key: [u8; 32],
        segment_bytes: u64,
        fsync: &str,
        compress: bool,
        ooo_chunk_samples: usize,
        exemplars_max: usize,
        range_ms: i64,
        floor: Option<i64>,
    ) -> PyResult<Self> {
        if range_ms <= 0 {
            return Err(PyValueError::new_err("range_ms is not positive"));
        }
        let fsync = match fsync {
            "segment" => Fsync::Segment,
            "interval" => Fsync::Interval,
            "always" => Fsync::Always,
            other => {
                return Err(PyValueError::new_err(format!(
                    "unknown fsync policy {other:?}"
                )));
            }
        };
        let options = LogOptions {
            segment_bytes,
            fsync,
            compress,
        };
        let bounds = Bounds {
            ooo_samples_max: ooo_chunk_samples,
            exemplars_max,
            range_ms,
            floor: floor.unwrap_or(i64::MIN),
        };
        let open = || {
            let fs = Arc::new(OsFs);
            core::Head::open(fs, &directory, &hash_key, tenant, options, bounds)
        };
        Ok(Head(Arc::new(py.detach(open)?)))
    }

    fn upkeep(&self) -> HeadUpkeep {
        HeadUpkeep(self.0.clone())
    }

    fn replay_step(&self, py: Python<'_>, bytes_max: u64) -> PyResult<(u64, u64)> {
        Ok(py.detach(|| self.0.replay_step(bytes_max))?)
    }

    fn replay_report(&self) -> PyResult<ReplayReport> {
        let r = self.0.replay_report()?;
        Ok(ReplayReport {
            segments: r.segments,
            records: r.records,
            samples: r.samples,
            samples_unknown_series: r.samples_unknown_series,
            exemplars: r.exemplars,
            records_unknown: r.records_unknown,
            torn: r.torn,
            torn_bytes: r.torn_bytes,
            damage: r.damage,
        })
    }

    #[pyo3(signature = (batches, *, series_max=0, series_per_metric_max=0, ooo_window_ms=0, exemplars_max=0))]
    fn append(
        &self,
        py: Python<'_>,
        batches: Vec<Py<WriteBatch>>,
        series_max: u64,
        series_per_metric_max: u64,
        ooo_window_ms: i64,
        exemplars_max: usize,
    ) -> PyResult<Vec<AppendResult>> {
        let limits = Limits {
            series_max,
            series_per_metric_max,
            ooo_window_ms,
            exemplars_max,
        };
        let batches: Vec<&WriteBatch> = batches.iter().map(Py::get).collect();
        let outcomes = py.detach(|| self.0.append(&batches, limits))?;
        Ok(outcomes.into_iter().map(AppendResult).collect())
    }

    fn rekey(&self, py: Python<'_>, key: [u8; 32]) -> PyResult<()> {
        Ok(py.detach(|| self.0.rekey(&key))?)
    }

    fn owned_series(&self, py: Python<'_>, ranges: Bound<'_, PyAny>) -> PyResult<u64> {
        let ranges = token_ranges(&ranges)?;
        Ok(py.detach(|| Ok::<_, AppendError>(self.0.table()?.count_in(&ranges)))?)
    }

    fn set_owned_ranges(&self, py: Python<'_>, ranges: Option<Bound<'_, PyAny>>) -> PyResult<u64> {
        let ranges = ranges.as_ref().map(token_ranges).transpose()?;
        Ok(py.detach(|| self.0.set_owned_ranges(ranges))?)
    }

    fn owned(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(py.detach(|| Ok::<_, AppendError>(self.0.table()?.owned_count()))?)
    }

    #[pyo3(signature = (*, current))]
    fn sync(&self, py: Python<'_>, current: bool) -> PyResult<()> {
        Ok(py.detach(|| self.0.sync(current))?)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.close())?)
    }

    fn select(
        &self,
        py: Python<'_>,
        matchers: Vec<MatcherTuple>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<HeadSeriesSet> {
        let matchers = compile(matchers)?;
        let snapshot = py.detach(|| -> Result<Snapshot, AppendError> {
            let capture = {
                let table = self.0.table()?;
                let sids = select::find(&table, &matchers, mint, maxt);
                Capture::new(&table, &sids, mint, maxt)
            };
            Ok(capture.finish())
        })?;
        Ok(HeadSeriesSet(Arc::new(snapshot)))
    }

    fn series(
        &self,
        py: Python<'_>,
        matcher_sets: Vec<Vec<MatcherTuple>>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<LabelFrame> {
        let sets = matcher_sets
            .into_iter()
            .map(compile)
            .collect::<PyResult<Vec<_>>>()?;
        let frame = py.detach(|| -> Result<LabelFrame, AppendError> {
            let frame = {
                let table = self.0.table()?;
                let found = sets.iter().map(|set| select::find(&table, set, mint, maxt));
                let mut sids: Vec<u32> = found.flatten().collect();
                sids.sort_unstable();
                sids.dedup();
                select::label_frame(&table, &sids)
            };
            let order = frame.sort_order();
            Ok(frame.take(order.iter().map(|&row| row as usize)))
        })?;
        Ok(frame)
    }

    fn exemplars(
        &self,
        py: Python<'_>,
        matcher_sets: Vec<Vec<MatcherTuple>>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<ExemplarSet> {
        let sets = matcher_sets
            .into_iter()
            .map(compile)
            .collect::<PyResult<Vec<_>>>()?;
        let found = py.detach(|| -> Result<Exemplars, AppendError> {
            let (frame, rows) = {
                let table = self.0.table()?;
                select::exemplars(&table, &sets, mint, maxt)
            };
            Ok(Exemplars::new(&frame, &rows))
        })?;
        Ok(ExemplarSet(found))
    }

    fn label_names(
        &self,
        py: Python<'_>,
        matchers: Vec<MatcherTuple>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<Vec<String>> {
        let matchers = compile(matchers)?;
        let names = py.detach(|| -> Result<Vec<String>, AppendError> {
            let table = self.0.table()?;
            if matchers.is_empty() && table.is_within(mint, maxt) {
                return Ok(select::all_label_names(&table));
            }
            let sids = select::find(&table, &matchers, mint, maxt);
            Ok(select::label_names(&table, &sids))
        })?;
        Ok(names)
    }

    fn label_values(
        &self,
        py: Python<'_>,
        name: &str,
        matchers: Vec<MatcherTuple>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<Vec<String>> {
        let mut matchers = compile(matchers)?;
        let values = py.detach(|| -> Result<Vec<String>, AppendError> {
            let table = self.0.table()?;
            if matchers.is_empty() && table.is_within(mint, maxt) {
                return Ok(select::all_label_values(&table, name));
            }
            matchers.extend(CompiledMatcher::new(MatchType::NotEqual, name, ""));
            let sids = select::find(&table, &matchers, mint, maxt);
            Ok(select::label_values(&table, name, &sids))
        })?;
        Ok(values)
    }

    fn stats(&self, py: Python<'_>) -> PyResult<HeadStats> {
        let stats = py.detach(|| -> Result<HeadStats, AppendError> {
            let log = self.0.log_stats()?;
            let table = self.0.table()?;
            let extent = table.extent();
            Ok(HeadStats {
                series: table.len() as u64,
                series_created: table.series_created,
                series_removed: table.series_removed,
                owned_series: table.owned_count(),
                chunks: table.chunks,
                samples_appended: table.samples_appended,
                ooo_samples_appended: table.ooo_appended,
                histogram_samples_appended: table.histograms_appended,
                exemplars: table.exemplars.len() as u64,
                exemplars_appended: table.exemplars.appended,
                exemplars_out_of_order: table.exemplars.out_of_order,
                exemplar_series: table.exemplars.series_count() as u64,
                exemplar_last_time_ms: table.exemplars.last_t(),
                min_time_ms: extent.map(|e| e.0),
                max_time_ms: extent.map(|e| e.1),
                memory_bytes: table.memory_bytes() as u64,
                wal_bytes_written: log.bytes_written,
                wal_segment: log.segment,
                wal_syncs_failed: log.syncs_failed,
                wal_unsynced_segments: log.unsynced,
            })
        })?;
        Ok(stats)
    }

    /// Series, oldest and newest sample; waits for nothing but an append's last step.
    fn extent(&self, py: Python<'_>) -> PyResult<(u64, Option<i64>, Option<i64>)> {
        let extent = py.detach(|| -> Result<_, AppendError> {
            let table = self.0.table()?;
            let extent = table.extent();
            Ok((table.len() as u64, extent.map(|e| e.0), extent.map(|e| e.1)))
        })?;
        Ok(extent)
    }
}

/// The series of one selection; see storage/contract.py.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct HeadSeriesSet(pub(crate) Arc<Snapshot>);

impl HeadSeriesSet {
    fn rows(&self, start_row: usize, end_row: usize) -> PyResult<std::ops::Range<usize>> {
        check_rows(start_row, end_row, self.0.len()).map_err(PyIndexError::new_err)
    }
}

#[pymethods]
impl HeadSeriesSet {
    #[getter]
    fn labels(&self) -> LabelFrame {
        self.0.labels.clone()
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
        let (rows, looks) = (self.rows(start_row, end_row)?, PyLooks::of(looks));
        columns(py.detach(|| self.0.decode(rows, mint, maxt, looks)))
    }

    fn sample_count_max(&self, start_row: usize, end_row: usize) -> PyResult<usize> {
        Ok(self.0.sample_count_max(self.rows(start_row, end_row)?))
    }

    #[pyo3(signature = (start_row, end_row, *, histograms=true))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        start_row: usize,
        end_row: usize,
        histograms: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let rows = self.rows(start_row, end_row)?;
        let encoded = py.detach(|| part::encode(&*self.0, rows, histograms));
        Ok(PyBytes::new(py, &encoded))
    }

    fn part_end(&self, start_row: usize, bytes_max: usize) -> PyResult<usize> {
        let rows = self.rows(start_row, self.0.len())?;
        Ok(part::end_of(&*self.0, rows.start, bytes_max))
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("WalFailed", m.py().get_type::<WalFailed>())?;
    m.add_class::<RefusedSamples>()?;
    m.add_class::<AppendResult>()?;
    m.add_class::<ReplayReport>()?;
    m.add_class::<HeadStats>()?;
    m.add_class::<Head>()?;
    m.add_class::<HeadSeriesSet>()?;
    super::python_upkeep::register(m)
}
