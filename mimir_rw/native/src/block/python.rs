//! The Python face of blocks in local files.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use super::builder::PyBlockStats;
use super::rows::Selected;
use super::verify::{self, Report};
use super::{BlockError, BlockReader};
use crate::error::DataDamaged;
use crate::labels::{CompiledMatcher, LabelFrame, MatchType};
use crate::series_set::python::EncodedSeriesSet;

impl From<BlockError> for PyErr {
    fn from(error: BlockError) -> Self {
        let text = error.to_string();
        match error {
            BlockError::Io(error, path) => match error.raw_os_error() {
                Some(number) => PyOSError::new_err((number, error.to_string(), path)),
                None => PyOSError::new_err(text),
            },
            BlockError::Damaged(_) => DataDamaged::new_err(text),
            BlockError::Order(_) => PyValueError::new_err(text),
        }
    }
}

/// (type, name, value), as `Matcher.as_tuple` in Python.
pub type MatcherTuple = (u8, String, String);

pub fn compile(matchers: Vec<MatcherTuple>) -> PyResult<Vec<CompiledMatcher>> {
    let compiled = matchers.into_iter().map(|(kind, name, value)| {
        let unknown = || PyValueError::new_err(format!("unknown matcher type {kind}"));
        let kind = MatchType::from_number(kind).ok_or_else(unknown)?;
        Ok(CompiledMatcher::new(kind, &name, &value)?)
    });
    compiled.collect()
}

/// A block in a directory; see `_native.pyi`.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct LocalBlock(Arc<BlockReader>);

#[pymethods]
impl LocalBlock {
    #[new]
    fn new(py: Python<'_>, directory: PathBuf) -> PyResult<Self> {
        let block = py.detach(|| BlockReader::open(&directory))?;
        Ok(LocalBlock(Arc::new(block)))
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.index.memory_bytes()
    }

    fn select(
        &self,
        py: Python<'_>,
        matchers: Vec<MatcherTuple>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<EncodedSeriesSet> {
        let matchers = compile(matchers)?;
        let set = py.detach(|| self.0.select(matchers, mint, maxt))?;
        Ok(EncodedSeriesSet(Arc::new(set)))
    }

    fn series(
        &self,
        py: Python<'_>,
        matcher_sets: Vec<Vec<MatcherTuple>>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<LabelFrame> {
        let sets = matcher_sets.into_iter().map(compile);
        let sets = sets.collect::<PyResult<Vec<_>>>()?;
        let frame = py.detach(|| -> Result<LabelFrame, BlockError> {
            let found: Vec<Selected> = sets
                .into_iter()
                .map(|set| self.0.find(set, mint, maxt))
                .collect::<Result<_, _>>()?;
            let frames: Vec<&LabelFrame> = found.iter().map(|found| &found.labels).collect();
            Ok(crate::labels::union::Union::new(&frames).labels)
        })?;
        Ok(frame)
    }

    fn label_names(
        &self,
        py: Python<'_>,
        matchers: Vec<MatcherTuple>,
        mint: i64,
        maxt: i64,
    ) -> PyResult<Vec<String>> {
        let matchers = compile(matchers)?;
        let names = py.detach(|| match matchers.is_empty() {
            true => Ok(self.0.label_names().map(str::to_owned).collect()),
            false => self.0.names_among(matchers, mint, maxt),
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
        let values = py.detach(|| -> Result<Vec<String>, BlockError> {
            if matchers.is_empty() {
                return self.0.label_values(name);
            }
            matchers.extend(CompiledMatcher::new(MatchType::NotEqual, name, ""));
            self.0.values_among(name, matchers, mint, maxt)
        })?;
        Ok(values)
    }
}

/// What `verify_block_files` found; see `_native.pyi`.
#[pyclass(frozen, module = "mimir_rw._native")]
pub struct BlockReport(Report);

#[pymethods]
impl BlockReport {
    #[getter]
    fn stats(&self) -> PyBlockStats {
        self.0.stats.into()
    }

    #[getter]
    fn tombstones(&self) -> u64 {
        self.0.tombstones
    }

    #[getter]
    fn problems(&self) -> Vec<String> {
        self.0.problems.clone()
    }

    #[getter]
    fn problem_count(&self) -> u64 {
        self.0.problem_count
    }
}

#[pyfunction]
pub fn verify_block_files(py: Python<'_>, directory: PathBuf) -> PyResult<BlockReport> {
    Ok(BlockReport(py.detach(|| verify::verify(&directory))?))
}
