//! Chunk codecs: append, decode to columns, merge of overlapping chunks.
//!
//! Decoders are total: any bytes give samples or `Damaged`, never a panic and never more samples than the chunk's
//! own bytes can hold.

pub mod bits;
pub mod histogram;
pub mod merge;
pub mod rechunk;
pub mod varbit;
pub mod varint;
pub mod xor;

use std::fmt;

/// Bytes at rest that do not decode; the text says what was being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Damaged {}

impl From<Damaged> for pyo3::PyErr {
    fn from(e: Damaged) -> Self {
        crate::error::DataDamaged::new_err(e.0)
    }
}

pub fn register(_m: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
    Ok(())
}
