//! Typed errors that cross into Python.
//!
//! `DecodeError`: bytes from outside are malformed (the sender's fault); `BodyTooLarge`, a kind of it: over a bound.
//! `DataDamaged`: bytes at rest are malformed (ours or the disk's fault).

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

create_exception!(mimir_rw._native, DecodeError, PyValueError);
create_exception!(mimir_rw._native, BodyTooLarge, DecodeError);
create_exception!(mimir_rw._native, DataDamaged, PyValueError);

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("DecodeError", m.py().get_type::<DecodeError>())?;
    m.add("BodyTooLarge", m.py().get_type::<BodyTooLarge>())?;
    m.add("DataDamaged", m.py().get_type::<DataDamaged>())?;
    Ok(())
}
