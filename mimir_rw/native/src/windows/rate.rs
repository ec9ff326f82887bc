//! rate, increase, delta, irate, idelta.
//!
//! The extrapolated family runs in two passes over a row: one moves the window and gathers the first and last
//! sample, the count and the correction for counter resets of each step; the other does the arithmetic over whole
//! slices, without branches. A window costs O(1) plus its resets, which are added in sample order.

use pyo3::PyResult;

use super::columns::SampleColumns;
use super::grid::{Grid, LiveRow, Span, Walker, WindowFn};
use super::matrix::{Matrix, filled};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extrapolated {
    Rate,
    Increase,
    Delta,
}

/// What the arithmetic needs of one step; one slot per step, only those with `present` set are meaningful.
struct Gathered {
    present: Vec<bool>,
    first: Vec<f64>,
    /// last - first, plus the value before each reset.
    rise: Vec<f64>,
    gaps: Vec<f64>,
    sampled_s: Vec<f64>,
    to_start_s: Vec<f64>,
    to_end_s: Vec<f64>,
}

impl Gathered {
    fn new(steps: usize) -> PyResult<Self> {
        Ok(Self {
            present: filled(steps, false)?,
            first: filled(steps, 0.0)?,
            rise: filled(steps, 0.0)?,
            gaps: filled(steps, 1.0)?,
            sampled_s: filled(steps, 1.0)?,
            to_start_s: filled(steps, 0.0)?,
            to_end_s: filled(steps, 0.0)?,
        })
    }
}

/// Counter resets of one row: indexes of samples that lie below the sample before.
#[derive(Default)]
struct Resets {
    at: Vec<usize>,
    next: usize,
}

impl Resets {
    fn find(&mut self, values: &[f64]) {
        self.at.clear();
        self.next = 0;
        let falls = values.windows(2).enumerate().filter(|(_, w)| w[1] < w[0]);
        self.at.extend(falls.map(|(i, _)| i + 1));
    }

    /// Add the value before each reset inside the span to `rise`, in order. Spans must not go back.
    fn correct(&mut self, values: &[f64], span: Span, mut rise: f64) -> f64 {
        while self.next < self.at.len() && self.at[self.next] <= span.lo {
            self.next += 1;
        }
        for &at in &self.at[self.next..] {
            if at >= span.hi {
                break;
            }
            rise += values[at - 1];
        }
        rise
    }
}

/// `kind` over (t - range, t] for every row and step. Fewer than two samples give nothing.
pub fn extrapolated(
    cols: &SampleColumns,
    grid: Grid,
    range: i64,
    kind: Extrapolated,
) -> PyResult<Matrix> {
    let mut out = Matrix::new(cols.rows(), grid.steps)?;
    let mut gathered = Gathered::new(grid.steps)?;
    let mut live = LiveRow::default();
    let mut resets = Resets::default();
    let range_s = seconds(range);
    for row in 0..cols.rows() {
        let (ts, values) = live.load(cols, row);
        if ts.len() < 2 {
            continue;
        }
        if kind != Extrapolated::Delta {
            resets.find(values);
        }
        gather(ts, values, grid, range, &mut resets, &mut gathered);
        let (out_values, out_mask) = out.row_mut(row);
        out_mask.copy_from_slice(&gathered.present);
        match kind {
            Extrapolated::Rate => finish::<true>(&gathered, |factor| factor / range_s, out_values),
            Extrapolated::Increase => finish::<true>(&gathered, |factor| factor, out_values),
            Extrapolated::Delta => finish::<false>(&gathered, |factor| factor, out_values),
        }
    }
    Ok(out)
}

/// Whole seconds and the rest are converted apart, as Go's `Duration.Seconds` does.
pub fn seconds(ms: i64) -> f64 {
    (ms / 1000) as f64 + ((ms % 1000) * 1_000_000) as f64 / 1e9
}

fn gather(
    ts: &[i64],
    values: &[f64],
    grid: Grid,
    range: i64,
    resets: &mut Resets,
    out: &mut Gathered,
) {
    let mut walker = Walker::new(ts);
    for step in 0..grid.steps {
        let end = grid.at(step);
        let start = end.saturating_sub(range);
        let span = walker.move_to(start, end);
        out.present[step] = span.hi - span.lo >= 2;
        if !out.present[step] {
            // Neutral numbers keep the second pass free of branches.
            (out.first[step], out.rise[step]) = (0.0, 0.0);
            (out.gaps[step], out.sampled_s[step]) = (1.0, 1.0);
            (out.to_start_s[step], out.to_end_s[step]) = (0.0, 0.0);
            continue;
        }
        let (first_t, last_t) = (ts[span.lo], ts[span.hi - 1]);
        let first = values[span.lo];
        out.first[step] = first;
        out.rise[step] = resets.correct(values, span, values[span.hi - 1] - first);
        out.gaps[step] = (span.hi - span.lo - 1) as f64;
        out.sampled_s[step] = last_t.wrapping_sub(first_t) as f64 / 1000.0;
        out.to_start_s[step] = first_t.wrapping_sub(start) as f64 / 1000.0;
        out.to_end_s[step] = end.wrapping_sub(last_t) as f64 / 1000.0;
    }
}

/// Extrapolate each step to the window's bounds: by at most half a gap where a bound is 1.1 gaps or more away, and
/// for counters not below zero.
#[inline]
fn finish<const COUNTER: bool>(g: &Gathered, scale: impl Fn(f64) -> f64, out: &mut [f64]) {
    let n = out.len();
    let (first, rise, gaps) = (&g.first[..n], &g.rise[..n], &g.gaps[..n]);
    let (sampled, to_start, to_end) = (&g.sampled_s[..n], &g.to_start_s[..n], &g.to_end_s[..n]);
    for i in 0..n {
        let gap = sampled[i] / gaps[i];
        let threshold = gap * 1.1;
        let half = gap / 2.0;
        let mut before = if to_start[i] >= threshold {
            half
        } else {
            to_start[i]
        };
        if COUNTER {
            let to_zero = sampled[i] * (first[i] / rise[i]);
            let clamp = (rise[i] > 0.0) & (first[i] >= 0.0) & (to_zero < before);
            before = if clamp { to_zero } else { before };
        }
        let after = if to_end[i] >= threshold {
            half
        } else {
            to_end[i]
        };
        let factor = scale((sampled[i] + before + after) / sampled[i]);
        out[i] = rise[i] * factor;
    }
}

/// Difference of the last two samples; per second, and starting anew after a reset, when `RATE`.
pub struct LastTwo<const RATE: bool>;

impl<const RATE: bool> WindowFn for LastTwo<RATE> {
    const SPAN_ONLY: bool = true;

    fn eval(&mut self, ts: &[i64], values: &[f64], span: Span, _step: usize) -> Option<f64> {
        if span.hi - span.lo < 2 {
            return None;
        }
        let (previous, last) = (values[span.hi - 2], values[span.hi - 1]);
        let elapsed = ts[span.hi - 1].wrapping_sub(ts[span.hi - 2]);
        if elapsed == 0 {
            return None;
        }
        if !RATE {
            return Some(last - previous);
        }
        let rise = if last < previous {
            last
        } else {
            last - previous
        };
        Some(rise / (elapsed as f64 / 1000.0))
    }
}
