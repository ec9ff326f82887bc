//! One decoder family a file: `target` and its `seeds`.

pub mod batch;
pub mod block;
pub mod chunk;
pub mod go_regex;
pub mod histogram_chunk;
pub mod histograms;
pub mod proto;
pub mod push_messages;
pub mod rechunk;
pub mod remote_write;
pub mod series_set;
pub mod wal;
