//! Native core of mimir-rw, imported by Python as `mimir_rw._native`.
//!
//! Python decides; this crate touches every byte and every sample. Every decoder is total: a typed error,
//! never a panic, never memory beyond a declared bound. Kernels take a whole batch, release the GIL, start
//! no thread and read no clock.
//!
//! One module per kernel family; each has a `register` that adds its Python names.

pub mod batch;
pub mod block;
pub mod bytes;
pub mod codec;
pub mod error;
pub mod head;
pub mod histogram;
pub mod labels;
pub mod math;
pub mod series_set;
pub mod text;
pub mod windows;
pub mod wire;

use pyo3::prelude::*;

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    error::register(m)?;
    batch::register(m)?;
    block::merge::python::register(m)?;
    block::register(m)?;
    wire::register(m)?;
    codec::register(m)?;
    head::register(m)?;
    histogram::register(m)?;
    labels::register(m)?;
    math::register(m)?;
    series_set::register(m)?;
    windows::register(m)?;
    text::register(m)?;
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
