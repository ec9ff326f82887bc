//! Label kernels: dictionary-coded label frames, matchers and their regular expressions.
//!
//! `LabelFrame` holds the label sets of a query's series as columns of codes over dictionaries, so that grouping,
//! matching, joining and sorting are work on integers. Frames and dictionaries never change once built; they are
//! shared by `Arc` and read without the GIL.

pub mod dictionary;
mod factor;
mod format;
pub mod frame;
pub mod frame_codec;
mod frame_py;
mod hash;
pub mod matcher;
mod order;
pub mod regex;
mod replace;
pub mod union;

pub use dictionary::{Dictionary, Interner};
pub use frame::{FrameBuilder, LabelFrame};
pub use matcher::{CompiledMatcher, MatchType};

use pyo3::prelude::*;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<LabelFrame>()?;
    matcher::register(m)?;
    replace::register(m)
}
