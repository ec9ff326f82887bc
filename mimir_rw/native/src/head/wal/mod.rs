//! The write-ahead log in Prometheus' format (wal.md): records, framing into pages, segments, reading, repair.
//!
//! `wal/` holds series and in-order samples, `wbl/` out-of-order samples. All file access goes through `fs`.

pub mod frame;
pub mod fs;
pub mod histogram;
pub mod log;
pub mod read;
pub mod record;
