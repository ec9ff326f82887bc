//! Bytes from outside: the kernels that turn push bodies into a `WriteBatch`.

pub mod batch_codec;
mod batch_extras;
mod columns;
mod exemplar_message;
pub mod histogram_codec;
mod histogram_message;
pub mod known;
mod metadata;
pub mod proto;
pub mod recent_metadata;
pub mod remote_write;
mod scan;
mod scan_v2;
pub mod sent;
pub mod series;
mod settle;
pub mod validate;

#[cfg(test)]
mod batch_codec_tests;
#[cfg(test)]
mod remote_write_tests;
#[cfg(test)]
mod remote_write_v2_tests;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::batch::WriteBatch;
use crate::bytes::Bytes;
use crate::error::{BodyTooLarge, DecodeError};
use known::{KnownSeries, LabelLimits};
use recent_metadata::RecentMetadata;
use remote_write::{Context, DecodeFault, Version};
use sent::SentSeries;
use series::SeriesHasher;

/// A tenant's limits on what a push may hold.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct PushLimits(remote_write::PushLimits);

#[pymethods]
impl PushLimits {
    #[new]
    #[pyo3(signature = (*, label_names_max, info_label_names_max, label_name_bytes_max, label_value_bytes_max,
                        metadata_bytes_max, future_grace_ms, past_grace_ms, utf8_names, histograms=true,
                        histogram_buckets_max=0, reduce_histograms=true, exemplars=false,
                        type_and_unit_labels=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        label_names_max: usize,
        info_label_names_max: usize,
        label_name_bytes_max: usize,
        label_value_bytes_max: usize,
        metadata_bytes_max: usize,
        future_grace_ms: i64,
        past_grace_ms: i64,
        utf8_names: bool,
        histograms: bool,
        histogram_buckets_max: usize,
        reduce_histograms: bool,
        exemplars: bool,
        type_and_unit_labels: bool,
    ) -> Self {
        Self(remote_write::PushLimits {
            labels: LabelLimits {
                label_names_max,
                info_label_names_max,
                name_bytes_max: label_name_bytes_max,
                value_bytes_max: label_value_bytes_max,
                utf8_names,
            },
            metadata_bytes_max,
            future_grace_ms,
            past_grace_ms,
            histograms,
            histogram_buckets_max,
            reduce_histograms,
            exemplars,
            type_and_unit_labels,
        })
    }
}

/// What a push body holds.
#[pyclass(frozen, get_all, module = "mimir_rw._native")]
pub struct DecodedPush {
    batch: Py<WriteBatch>,
    rejections: Vec<(String, u64, String)>,
    samples_received: u64,
    metadata_received: u64,
    exemplars_received: u64,
    exemplars_dropped: u64,
    exemplar_refusals: Vec<(String, u64)>,
    histograms_dropped: u64,
    newest_ms: Option<i64>,
}

impl From<DecodeFault> for PyErr {
    fn from(fault: DecodeFault) -> Self {
        match fault {
            DecodeFault::TooLarge(text) => BodyTooLarge::new_err(text),
            DecodeFault::Malformed(text) => DecodeError::new_err(text),
        }
    }
}

fn hasher(key: &[u8]) -> PyResult<SeriesHasher> {
    let key = key
        .try_into()
        .map_err(|_| PyValueError::new_err("key must have 32 bytes"))?;
    Ok(SeriesHasher::new(key))
}

#[pyfunction]
#[pyo3(signature = (data, *, tenant, key))]
fn decode_batch(py: Python<'_>, data: Bytes, tenant: &str, key: &[u8]) -> PyResult<WriteBatch> {
    let hasher = hasher(key)?;
    let decoded = py.detach(|| batch_codec::decode(&data, tenant, &hasher));
    decoded.map_err(|e| DecodeError::new_err(format!("cannot decode a batch: {e}")))
}

#[pyfunction]
#[pyo3(signature = (body, *, tenant, key, known, limits, now_ms, bytes_max, version=1, recent_metadata=None))]
#[allow(clippy::too_many_arguments)]
fn decode_remote_write(
    py: Python<'_>,
    body: PyBackedBytes,
    tenant: &str,
    key: &[u8],
    known: &Bound<'_, KnownSeries>,
    limits: &Bound<'_, PushLimits>,
    now_ms: i64,
    bytes_max: usize,
    version: u8,
    recent_metadata: Option<&Bound<'_, RecentMetadata>>,
) -> PyResult<DecodedPush> {
    let hasher = hasher(key)?;
    let version = match version {
        1 => Version::V1,
        2 => Version::V2,
        _ => return Err(PyValueError::new_err("there is no such version")),
    };
    let context = Context {
        tenant,
        hasher: &hasher,
        known: known.get(),
        limits: &limits.get().0,
        recent_metadata: recent_metadata.map(Bound::get),
        version,
        now_ms,
        bytes_max,
    };
    let push = py.detach(|| remote_write::decode(&body, &context))?;
    Ok(DecodedPush {
        newest_ms: push.newest_ms,
        rejections: push
            .rejections
            .into_iter()
            .map(|r| (r.id.to_owned(), r.count, r.first))
            .collect(),
        samples_received: push.samples_received,
        metadata_received: push.metadata_received,
        exemplars_received: push.exemplars_received,
        exemplars_dropped: push.exemplars_dropped,
        exemplar_refusals: push
            .exemplar_refusals
            .into_iter()
            .map(|(id, count)| (id.to_owned(), count))
            .collect(),
        histograms_dropped: push.histograms_dropped,
        batch: Py::new(py, push.batch)?,
    })
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<KnownSeries>()?;
    m.add_class::<PushLimits>()?;
    m.add_class::<RecentMetadata>()?;
    m.add_class::<DecodedPush>()?;
    m.add_class::<SentSeries>()?;
    m.add_function(wrap_pyfunction!(decode_batch, m)?)?;
    m.add_function(wrap_pyfunction!(decode_remote_write, m)?)
}
