//! One decoder family a file: `target` and its `seeds`.

pub mod go_regex;
pub mod proto;
pub mod remote_write;
