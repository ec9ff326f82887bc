//! Window, selection and aggregation kernels over float columns.
//!
//! In: `SampleColumns` (samples of n series, ascending in time within a row) or a row-major `rows × steps` matrix
//! with a presence mask. Out: a matrix of values and a mask of the same shape; a value whose mask is false is 0.
//! Every result equals the reference algorithm bit for bit: sums are compensated and run in sample or row order,
//! and a shortcut is taken only where it leaves each operation and its order as they are.
//!
//! Kernels are total: a length that does not fit is a `ValueError`, a result that cannot be allocated a
//! `MemoryError`. They release the GIL and keep no state between calls.

pub mod accumulate;
pub mod aggregate;
pub mod buckets;
pub mod cells;
pub mod columns;
pub mod extended;
pub mod extended_mixed;
pub mod flags;
pub mod grid;
pub mod groups;
pub mod histogram_rate;
pub mod instant;
pub mod lanes;
pub mod matrix;
pub mod mixed;
pub mod over_time;
pub mod quantile;
pub mod ranked;
pub mod rate;
pub mod regression;
pub mod select;
pub mod start_time;
pub mod sum;
pub mod timeline;
mod window;

pub use columns::SampleColumns;

use pyo3::prelude::*;

/// The NaN that marks the end of a series; other NaNs are ordinary values.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SampleColumns>()?;
    m.add_class::<accumulate::Accumulator>()?;
    m.add_function(wrap_pyfunction!(select::select_instant, m)?)?;
    m.add_function(wrap_pyfunction!(select::select_instant_times, m)?)?;
    m.add_function(wrap_pyfunction!(instant::select_instant_mixed, m)?)?;
    m.add_function(wrap_pyfunction!(window::window, m)?)?;
    m.add_function(wrap_pyfunction!(mixed::window_mixed, m)?)?;
    m.add_function(wrap_pyfunction!(extended::window_extended, m)?)?;
    m.add_function(wrap_pyfunction!(extended_mixed::window_extended_mixed, m)?)?;
    m.add_function(wrap_pyfunction!(extended_mixed::select_smoothed_mixed, m)?)?;
    m.add_function(wrap_pyfunction!(extended::select_smoothed, m)?)?;
    m.add_function(wrap_pyfunction!(aggregate::aggregate, m)?)?;
    m.add_function(wrap_pyfunction!(aggregate::aggregate_quantile, m)?)?;
    m.add_function(wrap_pyfunction!(ranked::select_k, m)?)?;
    m.add_function(wrap_pyfunction!(buckets::histogram_quantile, m)?)?;
    m.add_function(wrap_pyfunction!(buckets::histogram_fraction, m)?)?;
    m.add_function(wrap_pyfunction!(ranked::count_values, m)?)?;
    Ok(())
}
