//! Samples of which only count and sum will be asked for: the buckets go, and what they said of resets stays as a hint.
//!
//! The reference does this where it decodes, and so tells of collisions of hints that it would not see otherwise.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{Buckets, FloatHistogram, HistogramColumn, ResetHint};
use crate::windows::SampleColumns;

/// Windows of samples that are read one after the other: `(end - length, end]` for each end.
#[derive(Clone, Copy)]
struct Windows {
    start: i64,
    step: i64,
    length: i64,
}

impl Windows {
    /// The window that a sample is in, None for one in the gap before it. All are one where they have no gaps.
    fn of(self, t: i64) -> Option<i64> {
        if self.step <= self.length {
            return Some(0);
        }
        let number = t
            .saturating_sub(self.start)
            .saturating_add(self.step - 1)
            .div_euclid(self.step);
        let end = self.start.saturating_add(number.saturating_mul(self.step));
        (t > end.saturating_sub(self.length)).then_some(number)
    }
}

/// Histograms of one series, in order of time. The first of each window keeps the hint it has.
fn without_buckets(
    times: &[i64],
    items: &[Arc<FloatHistogram>],
    windows: Windows,
) -> Vec<Arc<FloatHistogram>> {
    let mut last: Option<(i64, &FloatHistogram)> = None;
    let mut bare = Vec::with_capacity(items.len());
    for (&t, item) in times.iter().zip(items) {
        let mut hint = item.hint;
        if let (false, Some(window)) = (item.is_stale(), windows.of(t)) {
            let previous =
                last.and_then(|(before, previous)| (before == window).then_some(previous));
            if let (ResetHint::Unknown, Some(previous)) = (hint, previous) {
                hint = match item.is_reset_after(previous) {
                    true => ResetHint::Reset,
                    false => ResetHint::NotReset,
                };
            }
            last = Some((window, item));
        }
        bare.push(match hint == item.hint && is_bare(item) {
            true => item.clone(),
            false => Arc::new(FloatHistogram {
                hint,
                schema: item.schema,
                count: item.count,
                sum: item.sum,
                ..FloatHistogram::default()
            }),
        });
    }
    bare
}

/// Whether it was decoded so already.
fn is_bare(item: &FloatHistogram) -> bool {
    let none = |side: &Buckets| side.spans.is_empty() && side.counts.is_empty();
    none(&item.positive)
        && none(&item.negative)
        && item.custom.is_empty()
        && (item.zero_threshold, item.zero_count) == (0.0, 0.0)
}

#[pyfunction]
pub fn histogram_statistics(
    py: Python<'_>,
    columns: &Bound<'_, SampleColumns>,
    start_ms: i64,
    step_ms: i64,
    length_ms: i64,
) -> PyResult<SampleColumns> {
    let columns = columns.get();
    let windows = Windows {
        start: start_ms,
        step: step_ms,
        length: length_ms,
    };
    let Some(samples) = columns.histograms() else {
        return Ok(columns.clone());
    };
    let bare = py.detach(|| {
        let items = (0..columns.rows()).flat_map(|row| {
            let (times, items) = samples.row(row);
            without_buckets(times, items, windows)
        });
        let column = HistogramColumn {
            items: items.collect(),
        };
        columns
            .floats()
            .with_histograms(samples.with_column(column))
    });
    bare.map_err(PyValueError::new_err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(times: &[i64], windows: Windows) -> Vec<ResetHint> {
        let counts = [1.0, 2.0, 1.0, 3.0];
        let items: Vec<_> = counts[..times.len()]
            .iter()
            .map(|&count| {
                Arc::new(FloatHistogram {
                    count,
                    zero_count: count,
                    ..FloatHistogram::default()
                })
            })
            .collect();
        let bare = without_buckets(times, &items, windows);
        assert!(bare.iter().all(|h| h.zero_count == 0.0));
        bare.iter().map(|h| h.hint).collect()
    }

    #[test]
    fn resets_become_hints() {
        use ResetHint::{NotReset, Reset, Unknown};
        let joined = Windows {
            start: 0,
            step: 10,
            length: 10,
        };
        assert_eq!(
            hints(&[1, 2, 3, 14], joined),
            [Unknown, NotReset, Reset, NotReset]
        );
        // Windows (5,10] and (15,20]; 12 is in none.
        let apart = Windows {
            length: 5,
            ..joined
        };
        assert_eq!(
            hints(&[8, 9, 12, 17], apart),
            [Unknown, NotReset, Unknown, Unknown]
        );
    }
}
