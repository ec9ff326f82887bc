//! Sums over many windows at once.
//!
//! A compensated sum is one long chain of dependent additions. Windows do not depend on each other, so `L` of them run
//! side by side, each in its own order. The error of an addition is taken with Knuth's branch-free TwoSum: it is exact,
//! and so equal to Neumaier's. Where it is not, on overflow, the sums end up not finite, and the window is
//! computed again by the plain definition.

use super::columns::SampleColumns;
use super::grid::{Grid, LiveRow, Span, Walker};
use super::matrix::Matrix;

/// `L` compensated sums.
#[derive(Clone, Copy)]
pub struct Sums<const L: usize> {
    sum: [f64; L],
    c: [f64; L],
}

impl<const L: usize> Sums<L> {
    const ZERO: Self = Self {
        sum: [0.0; L],
        c: [0.0; L],
    };

    #[inline(always)]
    fn add(&mut self, x: [f64; L]) {
        for (k, x) in x.into_iter().enumerate() {
            let before = self.sum[k];
            let after = before + x;
            let added = after - before;
            self.c[k] += (before - (after - added)) + (x - added);
            self.sum[k] = after;
        }
    }

    #[inline(always)]
    fn total(&self) -> [f64; L] {
        std::array::from_fn(|k| self.sum[k] + self.c[k])
    }

    /// True when the sum of lane `k` never left the finite numbers.
    fn exact(&self, k: usize) -> bool {
        self.sum[k].is_finite() && self.c[k].is_finite()
    }

    fn lane(&self, k: usize) -> Sums<1> {
        Sums {
            sum: [self.sum[k]],
            c: [self.c[k]],
        }
    }
}

/// State of `L` windows that take their values in step.
pub trait Lanes<const L: usize> {
    type One: Lanes<1>;
    fn new() -> Self;
    fn add(&mut self, x: [f64; L]);
    fn lane(&self, k: usize) -> Self::One;
}

/// A function of the values in a window, by lanes where it can be.
pub trait LaneFn {
    type State<const L: usize>: Lanes<L, One = Self::State<1>>;
    /// The result, unless the state left the finite numbers.
    fn finish(state: &Self::State<1>, count: f64) -> Option<f64>;
    /// The result by definition.
    fn plain(values: &[f64]) -> f64;
}

/// Windows that run side by side.
const LANES: usize = 8;

/// Windows that begin one sample after the other: what they take in step are neighbours.
///
/// Functions of their own: inlined into the loop over windows, the state does not stay in registers.
#[inline(never)]
fn add_neighbours<F: LaneFn>(state: &mut F::State<LANES>, values: &[f64]) {
    for x in values.windows(LANES) {
        if let Ok(x) = x.try_into() {
            state.add(x);
        }
    }
}

/// Windows of one length, turned into rows of what they take in step, block by block.
#[inline(never)]
fn add_side_by_side<F: LaneFn>(state: &mut F::State<LANES>, windows: [&[f64]; LANES]) {
    const BLOCK: usize = 64;
    let mut rows = [[0.0; LANES]; BLOCK];
    let common = windows[0].len();
    for start in (0..common).step_by(BLOCK) {
        let end = common.min(start + BLOCK);
        for (k, window) in windows.iter().enumerate() {
            for (row, &x) in rows.iter_mut().zip(&window[start..end]) {
                row[k] = x;
            }
        }
        for row in &rows[..end - start] {
            state.add(*row);
        }
    }
}

/// Fold each span of `values` and hand its result to `put(index of the span, result)`.
fn fold_spans<F: LaneFn>(values: &[f64], spans: &[Span], mut put: impl FnMut(usize, f64)) {
    let mut settle = |at: usize, state: &F::State<1>, window: &[f64]| {
        let result = F::finish(state, window.len() as f64);
        put(at, result.unwrap_or_else(|| F::plain(window)));
    };
    let whole = spans.len() - spans.len() % LANES;
    for first in (0..whole).step_by(LANES) {
        let windows: [&[f64]; LANES] = std::array::from_fn(|k| {
            let span = spans[first + k];
            &values[span.lo..span.hi]
        });
        let common = windows.iter().map(|w| w.len()).min().unwrap_or(0);
        let mut state = F::State::<LANES>::new();
        let start = spans[first].lo;
        if (0..LANES).all(|k| spans[first + k].lo == start + k) {
            add_neighbours::<F>(&mut state, &values[start..start + common + LANES - 1]);
        } else {
            add_side_by_side::<F>(&mut state, windows.map(|w| &w[..common]));
        }
        for (k, window) in windows.into_iter().enumerate() {
            let mut lane = state.lane(k);
            for &x in &window[common..] {
                lane.add([x]);
            }
            settle(first + k, &lane, window);
        }
    }
    for (at, span) in spans.iter().enumerate().skip(whole) {
        let window = &values[span.lo..span.hi];
        let mut lane = F::State::<1>::new();
        for &x in window {
            lane.add([x]);
        }
        settle(at, &lane, window);
    }
}

/// Evaluate `F` over (t - range, t] for every row and step; equal neighbouring windows are computed once.
pub fn run_lanes<F: LaneFn>(cols: &SampleColumns, grid: Grid, range: i64, out: &mut Matrix) {
    let mut live = LiveRow::default();
    let mut spans: Vec<Span> = Vec::new();
    let mut results: Vec<f64> = Vec::new();
    let mut seen: Vec<usize> = Vec::new();
    for row in 0..cols.rows() {
        let (ts, values) = live.load(cols, row);
        let mut walker = Walker::new(ts);
        spans.clear();
        seen.clear();
        for step in 0..grid.steps {
            let end = grid.at(step);
            let span = walker.move_to(end.saturating_sub(range), end);
            if span.lo < span.hi && spans.last() != Some(&span) {
                spans.push(span);
            }
            seen.push(if span.lo < span.hi { spans.len() } else { 0 });
        }
        results.clear();
        results.resize(spans.len(), 0.0);
        fold_spans::<F>(values, &spans, |at, result| results[at] = result);
        let (out_values, out_mask) = out.row_mut(row);
        for (step, &seen) in seen.iter().enumerate().filter(|&(_, &seen)| seen > 0) {
            out_values[step] = results[seen - 1];
            out_mask[step] = true;
        }
    }
}

impl<const L: usize> Lanes<L> for Sums<L> {
    type One = Sums<1>;

    fn new() -> Self {
        Self::ZERO
    }

    #[inline(always)]
    fn add(&mut self, x: [f64; L]) {
        Sums::add(self, x);
    }

    fn lane(&self, k: usize) -> Sums<1> {
        Sums::lane(self, k)
    }
}

pub struct Sum;

impl LaneFn for Sum {
    type State<const L: usize> = Sums<L>;

    fn finish(state: &Sums<1>, _count: f64) -> Option<f64> {
        state.exact(0).then(|| state.total()[0])
    }

    fn plain(values: &[f64]) -> f64 {
        super::over_time::sum(values)
    }
}

pub struct Avg;

impl LaneFn for Avg {
    type State<const L: usize> = Sums<L>;

    fn finish(state: &Sums<1>, count: f64) -> Option<f64> {
        state
            .exact(0)
            .then(|| state.sum[0] / count + state.c[0] / count)
    }

    fn plain(values: &[f64]) -> f64 {
        super::over_time::avg(values)
    }
}

/// Welford's recurrence with compensated mean and sum of squares.
pub struct Moments<const L: usize> {
    count: f64,
    mean: Sums<L>,
    /// Of the mean.
    total: [f64; L],
    aux: Sums<L>,
}

impl<const L: usize> Lanes<L> for Moments<L> {
    type One = Moments<1>;

    fn new() -> Self {
        Self {
            count: 0.0,
            mean: Sums::ZERO,
            total: [0.0; L],
            aux: Sums::ZERO,
        }
    }

    #[inline(always)]
    fn add(&mut self, x: [f64; L]) {
        self.count += 1.0;
        let delta: [f64; L] = std::array::from_fn(|k| x[k] - self.total[k]);
        self.mean.add(delta.map(|d| d / self.count));
        self.total = self.mean.total();
        self.aux
            .add(std::array::from_fn(|k| delta[k] * (x[k] - self.total[k])));
    }

    fn lane(&self, k: usize) -> Moments<1> {
        Moments {
            count: self.count,
            mean: self.mean.lane(k),
            total: [self.total[k]],
            aux: self.aux.lane(k),
        }
    }
}

/// Population variance, or its root when `ROOT`.
pub struct Variance<const ROOT: bool>;

impl<const ROOT: bool> LaneFn for Variance<ROOT> {
    type State<const L: usize> = Moments<L>;

    fn finish(state: &Moments<1>, count: f64) -> Option<f64> {
        let variance = state.aux.total()[0] / count;
        let exact = state.mean.exact(0) && state.aux.exact(0);
        exact.then(|| if ROOT { variance.sqrt() } else { variance })
    }

    fn plain(values: &[f64]) -> f64 {
        let variance = super::over_time::variance(values);
        if ROOT { variance.sqrt() } else { variance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of very different sizes, so that each addition loses something, from a fixed recurrence.
    fn values(n: usize) -> Vec<f64> {
        let mut x = 1u64;
        let mut next = || {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            x >> 33
        };
        (0..n)
            .map(|_| (next() as f64 - 1e9) * 10f64.powi((next() % 60) as i32 - 30))
            .collect()
    }

    fn folded<F: LaneFn>(values: &[f64], spans: &[Span]) -> Vec<u64> {
        let mut out = vec![0; spans.len()];
        fold_spans::<F>(values, spans, |at, v| out[at] = v.to_bits());
        out
    }

    fn same_as_plain<F: LaneFn>(values: &[f64]) {
        let ragged = (1..values.len()).map(|hi| (hi.saturating_sub(1 + hi % 37), hi));
        same_over::<F>(values, ragged);
        for stride in [1, 3] {
            let sliding = (0..values.len() - 200).step_by(stride);
            same_over::<F>(values, sliding.map(|lo| (lo, lo + 199)));
        }
    }

    fn same_over<F: LaneFn>(values: &[f64], spans: impl Iterator<Item = (usize, usize)>) {
        let spans: Vec<Span> = spans.map(|(lo, hi)| Span { lo, hi }).collect();
        let plain = |s: &Span| F::plain(&values[s.lo..s.hi]).to_bits();
        let want: Vec<u64> = spans.iter().map(plain).collect();
        assert_eq!(folded::<F>(values, &spans), want);
    }

    #[test]
    fn lanes_equal_the_definition_bit_for_bit() {
        let mut values = values(2000);
        same_as_plain::<Sum>(&values);
        same_as_plain::<Avg>(&values);
        same_as_plain::<Variance<true>>(&values);
        values[500] = f64::MAX;
        values[501] = f64::MAX;
        values[900] = -f64::MAX;
        values[1200] = f64::INFINITY;
        same_as_plain::<Sum>(&values);
        same_as_plain::<Avg>(&values);
    }
}
