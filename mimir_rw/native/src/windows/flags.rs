//! What a kernel met in a row besides its results: bits from which annotations are made.

/// Floats and histograms in one window, which has no result for that.
pub const MIXED_KINDS: u32 = 1;
/// A gauge where a counter is due, and the other way round.
pub const NOT_COUNTER: u32 = 1 << 1;
pub const NOT_GAUGE: u32 = 1 << 2;
/// Exponential and custom buckets in one window.
pub const MIXED_BUCKETS: u32 = 1 << 3;
/// Custom bounds that differ were reconciled in an addition, a subtraction, an aggregation over time.
pub const RECONCILED_ADD: u32 = 1 << 4;
pub const RECONCILED_SUB: u32 = 1 << 5;
pub const RECONCILED_AGGREGATION: u32 = 1 << 6;
/// Hints of a reset and of none were aggregated.
pub const RESET_COLLISION: u32 = 1 << 7;
/// A function of floats left histograms out.
pub const IGNORED_HISTOGRAMS: u32 = 1 << 8;
/// A start timestamp is before the sample before, and another than that one's.
pub const START_OVERLAP: u32 = 1 << 9;
