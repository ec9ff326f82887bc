//! Bytes that Python hands in, readable without the GIL.

use std::ops::Deref;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// Those of a `bytes` object as they are, any other buffer's copied.
pub enum Bytes {
    Own(PyBackedBytes),
    Copy(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Own(bytes) => bytes,
            Bytes::Copy(bytes) => bytes,
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Bytes {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.extract::<PyBackedBytes>() {
            return Ok(Bytes::Own(bytes));
        }
        let buffer = PyBuffer::<u8>::get(&object)?;
        Ok(Bytes::Copy(buffer.to_vec(object.py())?))
    }
}
