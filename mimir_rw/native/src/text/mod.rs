//! Prometheus' JSON, encoded once from columns: the `result` and `data` parts of answers.
//!
//! In: label frames and columns of samples. Out: bytes, ready to stand in an envelope. Rows come out in the order
//! given; a row without any sample is left out. `limit` > 0 ends the output after so many rows.

mod histogram;
mod json;
pub mod number;
mod python;
mod string;

pub use python::register;
