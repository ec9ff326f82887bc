//! Bytes from outside: the kernels that turn push bodies into a `WriteBatch`.

pub mod proto;

use pyo3::prelude::*;

pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
