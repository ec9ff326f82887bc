//! The Python face of what ends the life of samples in a head; see upkeep.rs for the order.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::core::{AppendError, Head};
use super::cut::{self, CutError, Part, Range};
use super::python::WalFailed;
use crate::block::{BlockError, layout};
use crate::error::DataDamaged;

impl From<CutError> for PyErr {
    fn from(e: CutError) -> Self {
        match e {
            CutError::Head(e) => e.into(),
            CutError::Damaged(e) => DataDamaged::new_err(format!("a chunk in memory: {}", e.0)),
            CutError::Write(BlockError::Io(error, path)) => {
                let full = error.kind() == std::io::ErrorKind::StorageFull;
                WalFailed::new_err((format!("{}: {error}", path.display()), full))
            }
            CutError::Write(e) => DataDamaged::new_err(e.to_string()),
        }
    }
}

/// What a block that was cut holds. Times are those of samples, inclusive.
#[pyclass(frozen, get_all, module = "mimir_rw._native")]
pub struct CutStats {
    series: u64,
    chunks: u64,
    floats: u64,
    histograms: u64,
    min_time_ms: i64,
    max_time_ms: i64,
}

#[pyclass(frozen, module = "mimir_rw._native")]
pub struct HeadUpkeep(pub(super) Arc<Head>);

#[pymethods]
impl HeadUpkeep {
    fn freeze(&self, py: Python<'_>, before: i64) -> PyResult<()> {
        Ok(py.detach(|| self.0.freeze(before))?)
    }

    fn thaw(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.thaw())?)
    }

    #[pyo3(signature = (directory, mint, maxt, *, out_of_order=false, segment_bytes=layout::SEGMENT_BYTES))]
    fn write_block(
        &self,
        py: Python<'_>,
        directory: PathBuf,
        mint: i64,
        maxt: i64,
        out_of_order: bool,
        segment_bytes: u64,
    ) -> PyResult<Option<CutStats>> {
        if mint >= maxt {
            return Err(PyValueError::new_err("a block ends after it begins"));
        }
        let part = match out_of_order {
            true => Part::OutOfOrder,
            false => Part::InOrder,
        };
        let range = Range { part, mint, maxt };
        let stats = py.detach(|| cut::write_block(&self.0, range, &directory, segment_bytes))?;
        Ok(stats.map(|stats| CutStats {
            series: stats.series,
            chunks: stats.chunks,
            floats: stats.floats,
            histograms: stats.histograms,
            min_time_ms: stats.mint,
            max_time_ms: stats.maxt,
        }))
    }

    fn forget(&self, py: Python<'_>, mint: i64, start: u32) -> PyResult<Option<u32>> {
        Ok(py.detach(|| self.0.forget(mint, start))?)
    }

    fn prepare_rebuild(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.prepare_rebuild())?)
    }

    fn rebuild(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(py.detach(|| self.0.rebuild())?)
    }

    fn ended_series(&self, py: Python<'_>, before: i64) -> PyResult<u64> {
        Ok(py.detach(|| self.0.ended_series(before))?)
    }

    fn seal_wal(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(py.detach(|| self.0.seal_wal())?)
    }

    fn checkpoint(&self, py: Python<'_>, active: u32) -> PyResult<Option<u32>> {
        let folded = py.detach(|| self.0.checkpoint(active))?;
        Ok(folded.map(|folded| folded.segments))
    }

    fn seal_wbl(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(py.detach(|| self.0.seal_wbl())?)
    }

    fn freeze_ooo(&self, py: Python<'_>, start: u32) -> PyResult<Option<u32>> {
        Ok(py.detach(|| self.0.freeze_ooo(start))?)
    }

    fn forget_ooo(&self, py: Python<'_>, start: u32) -> PyResult<Option<u32>> {
        Ok(py.detach(|| self.0.forget_ooo(start))?)
    }

    fn truncate_wbl(&self, py: Python<'_>, before: u32) -> PyResult<u32> {
        Ok(py.detach(|| self.0.truncate_wbl(before))?)
    }

    /// Oldest sample in order and out of order, newest sample, and before which time nothing is accepted in order.
    #[allow(clippy::type_complexity)]
    fn cut_extent(
        &self,
        py: Python<'_>,
    ) -> PyResult<(Option<i64>, Option<i64>, Option<i64>, Option<i64>)> {
        let extent = py.detach(|| -> Result<_, AppendError> {
            let table = self.0.table()?;
            let some = |t: i64, none: i64| (t != none).then_some(t);
            Ok((
                some(table.mint, i64::MAX),
                some(table.ooo_mint, i64::MAX),
                some(table.maxt, i64::MIN),
                some(table.floor(), i64::MIN),
            ))
        })?;
        Ok(extent)
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<CutStats>()?;
    m.add_class::<HeadUpkeep>()
}
