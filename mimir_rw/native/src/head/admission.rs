//! What a push may do, what becomes of its samples, and by which rules (tsdb-block.md section 14).

use super::series::{Last, SeriesTable};

#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Owned series (series.rs); 0: no limit.
    pub series_max: u64,
    /// The same for each metric.
    pub series_per_metric_max: u64,
    /// 0: out-of-order samples are refused.
    pub ooo_window_ms: i64,
    /// Exemplars that are kept; 0: none.
    pub exemplars_max: usize,
}

/// Why a sample or an exemplar is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    DuplicateTimestamp,
    OutOfOrder,
    TooOld,
    SeriesPerUser,
    SeriesPerMetric,
    ExemplarSeriesMissing,
    ExemplarOutOfOrder,
}

impl Refusal {
    /// Mimir's error id.
    pub fn id(self) -> &'static str {
        match self {
            Refusal::DuplicateTimestamp => "sample-duplicate-timestamp",
            Refusal::OutOfOrder => "sample-out-of-order",
            Refusal::TooOld => "sample-timestamp-too-old",
            Refusal::SeriesPerUser => "max-series-per-user",
            Refusal::SeriesPerMetric => "max-series-per-metric",
            Refusal::ExemplarSeriesMissing => "exemplar-series-missing",
            Refusal::ExemplarOutOfOrder => "exemplar-out-of-order",
        }
    }
}

/// Samples or exemplars of one batch refused for one reason; the first one is named.
#[derive(Clone, Debug)]
pub struct Refused {
    pub why: Refusal,
    pub count: u64,
    pub labels: String,
    pub t: i64,
    /// Ascending, each once.
    pub rows: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Samples accepted, equal duplicates included.
    pub stored: u64,
    /// Histograms among them.
    pub histograms_stored: u64,
    pub refused: Vec<Refused>,
    /// Exemplars accepted, equal duplicates included.
    pub exemplars_stored: u64,
    pub exemplars_refused: Vec<Refused>,
    /// References to series that are not here, ascending. Nothing of them is stored or refused.
    pub unresolved: Vec<u32>,
}

#[derive(Clone, Copy)]
pub struct Bounds {
    pub valid_min: i64,
    pub ooo_min: Option<i64>,
}

impl Bounds {
    /// head_maxt: newest sample of the table and of what is planned for it.
    pub fn new(table: &SeriesTable, head_maxt: i64, limits: &Limits) -> Self {
        // Blocks had a sample just before the floor, which the table may know nothing of after a restart.
        let newest = match table.floor() {
            i64::MIN => head_maxt,
            floor => head_maxt.max(floor - 1),
        };
        let back = |by: i64| match newest {
            i64::MIN => i64::MIN,
            newest => newest.saturating_sub(by),
        };
        Bounds {
            valid_min: back(table.range_ms() / 2).max(table.floor()),
            ooo_min: (limits.ooo_window_ms > 0).then(|| back(limits.ooo_window_ms)),
        }
    }
}

pub enum Verdict {
    InOrder,
    Equal,
    OutOfOrder,
    Refused(Refusal),
}

#[inline]
pub fn admit(last: Last, t: i64, v: u64, bounds: &Bounds) -> Verdict {
    if t >= bounds.valid_min {
        if !last.any || t > last.t {
            return Verdict::InOrder;
        }
        if t == last.t {
            return match v == last.v {
                true => Verdict::Equal,
                false => Verdict::Refused(Refusal::DuplicateTimestamp),
            };
        }
    }
    match bounds.ooo_min {
        Some(ooo_min) if t >= ooo_min => Verdict::OutOfOrder,
        Some(_) => Verdict::Refused(Refusal::TooOld),
        None if t < bounds.valid_min => Verdict::Refused(Refusal::TooOld),
        None => Verdict::Refused(Refusal::OutOfOrder),
    }
}
