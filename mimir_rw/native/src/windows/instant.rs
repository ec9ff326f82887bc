//! Instant selection of rows that have histograms: the newest sample of either kind.

use pyo3::prelude::*;

use super::cells::{Cell, MixedMatrix, PyMixedMatrix};
use super::columns::SampleColumns;
use super::grid::Grid;
use super::is_stale;

/// What is taken of the newest sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taken {
    Sample,
    /// Its time in seconds.
    Time,
    /// Its start timestamp in seconds, 0 where it is not known.
    StartTime,
}

/// Moves along the times of one row.
struct Cursor<'a> {
    ts: &'a [i64],
    next: usize,
}

impl<'a> Cursor<'a> {
    fn new(ts: &'a [i64]) -> Self {
        Self { ts, next: 0 }
    }

    /// Place and time of the newest sample in (after, until]; bounds must not go back.
    fn newest(&mut self, after: i64, until: i64) -> Option<(usize, i64)> {
        while self.next < self.ts.len() && self.ts[self.next] <= until {
            self.next += 1;
        }
        let last = self.next.checked_sub(1)?;
        (self.ts[last] > after).then_some((last, self.ts[last]))
    }
}

fn select(cols: &SampleColumns, grid: Grid, lookback: i64, taken: Taken) -> PyResult<MixedMatrix> {
    let mut out = MixedMatrix::empty(cols.rows(), grid.steps)?;
    for row in 0..cols.rows() {
        let (ts, values) = cols.row(row);
        let (h_ts, histograms) = cols.histograms().map_or((&[][..], &[][..]), |h| h.row(row));
        let (mut floats, mut others) = (Cursor::new(ts), Cursor::new(h_ts));
        for step in 0..grid.steps {
            let until = grid.at(step);
            let after = until.saturating_sub(lookback);
            let (float, other) = (floats.newest(after, until), others.newest(after, until));
            let (t, at, is_float) = match (float, other) {
                (None, None) => continue,
                (Some((at, t)), other) if other.is_none_or(|(_, newer)| newer < t) => (t, at, true),
                (_, Some((at, t))) => (t, at, false),
                (Some((at, t)), None) => (t, at, true),
            };
            let stale = match is_float {
                true => is_stale(values[at]),
                false => histograms[at].is_stale(),
            };
            if stale {
                continue;
            }
            let start = || match is_float {
                true => cols.start_row(row),
                false => cols.histograms().and_then(|h| h.start_row(row)),
            };
            let cell = match (taken, is_float) {
                (Taken::Time, _) => Cell::Float(t as f64 / 1000.0),
                (Taken::StartTime, _) => {
                    Cell::Float(start().map_or(0, |starts| starts[at]) as f64 / 1000.0)
                }
                (Taken::Sample, true) => Cell::Float(values[at]),
                (Taken::Sample, false) => Cell::Histogram(histograms[at].clone()),
            };
            out.set(row, step, &cell)?;
        }
    }
    Ok(out)
}

/// taken: "sample", "time" or "start time".
#[pyfunction]
pub fn select_instant_mixed<'py>(
    py: Python<'py>,
    cols: &SampleColumns,
    start_ms: i64,
    step_ms: i64,
    steps: usize,
    lookback_ms: i64,
    taken: &str,
) -> PyResult<PyMixedMatrix<'py>> {
    let taken = match taken {
        "sample" => Taken::Sample,
        "time" => Taken::Time,
        _ => Taken::StartTime,
    };
    let grid = Grid::new(start_ms, step_ms, steps)?;
    py.detach(|| select(cols, grid, lookback_ms, taken))?
        .into_py(py)
}
