//! The evaluation times of a query, and the walk of a window over them.

use pyo3::PyResult;
use pyo3::exceptions::PyValueError;

use super::columns::SampleColumns;
use super::is_stale;
use super::matrix::Matrix;

/// `steps` evaluation times: start, start + step, ... A step of 0 repeats the first (the `@` modifier).
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub start: i64,
    pub step: i64,
    pub steps: usize,
}

impl Grid {
    /// Raises ValueError for a negative step.
    pub fn new(start: i64, step: i64, steps: usize) -> PyResult<Self> {
        if step < 0 {
            return Err(PyValueError::new_err("step_ms must not be negative"));
        }
        Ok(Self { start, step, steps })
    }

    pub fn at(&self, i: usize) -> i64 {
        let i = i64::try_from(i).unwrap_or(i64::MAX);
        self.start.saturating_add(self.step.saturating_mul(i))
    }
}

/// One row without its stale markers; copied only where there are any.
#[derive(Default)]
pub struct LiveRow {
    ts: Vec<i64>,
    values: Vec<f64>,
}

impl LiveRow {
    pub fn load<'a>(&'a mut self, cols: &'a SampleColumns, row: usize) -> (&'a [i64], &'a [f64]) {
        let (ts, values) = cols.row(row);
        if !values.iter().any(|&v| is_stale(v)) {
            return (ts, values);
        }
        self.ts.clear();
        self.values.clear();
        for (&t, &v) in ts.iter().zip(values) {
            if !is_stale(v) {
                self.ts.push(t);
                self.values.push(v);
            }
        }
        (&self.ts, &self.values)
    }
}

/// The samples of one row seen by one step: `ts[lo..hi]`, with `S < ts <= E`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub lo: usize,
    pub hi: usize,
}

/// Moves a left-open window along one row. Bounds only ever grow, so a row costs O(samples + steps).
pub struct Walker<'a> {
    ts: &'a [i64],
    span: Span,
}

impl<'a> Walker<'a> {
    pub fn new(ts: &'a [i64]) -> Self {
        let span = Span { lo: 0, hi: 0 };
        Self { ts, span }
    }

    /// Move to the window (start, end]; both must not go back.
    pub fn move_to(&mut self, start: i64, end: i64) -> Span {
        let Span { mut lo, mut hi } = self.span;
        while hi < self.ts.len() && self.ts[hi] <= end {
            hi += 1;
        }
        while lo < hi && self.ts[lo] <= start {
            lo += 1;
        }
        self.span = Span { lo, hi };
        self.span
    }
}

/// A function of one window. `load` is called once per row, then `eval` with spans whose bounds never go back and
/// which hold at least one sample.
pub trait WindowFn {
    /// True when the result depends on the samples in the span alone: equal neighbouring spans share it.
    const SPAN_ONLY: bool;
    fn load(&mut self, _ts: &[i64], _values: &[f64]) {}
    fn eval(&mut self, ts: &[i64], values: &[f64], span: Span, step: usize) -> Option<f64>;
}

/// Evaluate `f` over (t - range, t] for every row and step.
pub fn run_windows<F: WindowFn>(
    cols: &SampleColumns,
    grid: Grid,
    range: i64,
    f: &mut F,
    out: &mut Matrix,
) {
    let mut live = LiveRow::default();
    for row in 0..cols.rows() {
        let (ts, values) = live.load(cols, row);
        if ts.is_empty() {
            continue;
        }
        f.load(ts, values);
        let mut walker = Walker::new(ts);
        let mut last: Option<(Span, Option<f64>)> = None;
        let (out_values, out_mask) = out.row_mut(row);
        for step in 0..grid.steps {
            let end = grid.at(step);
            let span = walker.move_to(end.saturating_sub(range), end);
            if span.lo == span.hi {
                continue;
            }
            let result = match last {
                Some((seen, result)) if F::SPAN_ONLY && seen == span => result,
                _ => f.eval(ts, values, span, step),
            };
            last = Some((span, result));
            if let Some(value) = result {
                out_values[step] = value;
                out_mask[step] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_left_open_and_bounds_never_go_back() {
        let ts = [0, 10, 20, 30];
        let mut walker = Walker::new(&ts);
        assert_eq!(walker.move_to(-5, 0), Span { lo: 0, hi: 1 });
        assert_eq!(walker.move_to(0, 10), Span { lo: 1, hi: 2 });
        assert_eq!(walker.move_to(11, 19), Span { lo: 2, hi: 2 });
        assert_eq!(walker.move_to(11, 40), Span { lo: 2, hi: 4 });
    }

    #[test]
    fn times_saturate() {
        let grid = Grid::new(i64::MAX - 1, i64::MAX, 3).expect("a step that is not negative");
        assert_eq!(grid.at(0), i64::MAX - 1);
        assert_eq!(grid.at(2), i64::MAX);
    }
}
