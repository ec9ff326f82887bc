//! Head: one tenant's recent samples in memory, backed by a write-ahead log in Prometheus' format.
//!
//! In: `WriteBatch`es, a group at a time. Out: series sets, label queries, statistics. A sample is in the log file
//! before it is visible; a group is stored whole or not at all. Appends come from one lane at a time; selections may
//! run beside them from any thread (core.rs has the locks).
//!
//! Samples leave when blocks have them: `cut` writes blocks, `upkeep` then drops samples and series and shortens the logs
//! (`checkpoint`).

pub mod admission;
pub mod append;
pub mod blocks;
mod checkpoint;
pub mod core;
pub mod cut;
pub mod exemplars;
pub mod histograms;
pub mod identity;
pub mod lookup;
pub mod owned;
pub mod planning;
pub mod postings;
mod python;
mod python_upkeep;
pub mod replay;
pub mod select;
pub mod series;
pub mod snapshot;
pub mod upkeep;
pub mod wal;

#[cfg(test)]
mod tests;

pub use python::{HeadSeriesSet, register};
