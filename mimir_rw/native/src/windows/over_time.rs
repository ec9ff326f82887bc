//! The `*_over_time` family, changes and resets.

use super::grid::{Span, WindowFn};
use super::sum::{Compensated, Mean};

/// A function of the values (or times) in the window and nothing else, computed anew for each distinct window.
pub struct Plain<F>(pub F);

impl<F: FnMut(&[i64], &[f64]) -> Option<f64>> WindowFn for Plain<F> {
    const SPAN_ONLY: bool = true;

    #[inline]
    fn eval(&mut self, ts: &[i64], values: &[f64], span: Span, _step: usize) -> Option<f64> {
        (self.0)(&ts[span.lo..span.hi], &values[span.lo..span.hi])
    }
}

pub fn sum(values: &[f64]) -> f64 {
    let mut acc = Compensated::default();
    for &v in values {
        acc.add(v);
    }
    if acc.sum.is_infinite() {
        acc.sum
    } else {
        acc.total()
    }
}

pub fn avg(values: &[f64]) -> f64 {
    let mut mean = Mean::default();
    for &v in values {
        mean.add(v);
    }
    mean.result()
}

/// Population variance.
pub fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = Compensated::default();
    let mut aux = Compensated::default();
    for &v in values {
        count += 1.0;
        let delta = v - mean.total();
        mean.add(delta / count);
        aux.add(delta * (v - mean.total()));
    }
    aux.total() / count
}

/// Milliseconds to seconds.
pub fn time_s(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Number of neighbours inside the window for which `differs(previous, current)`: prefix counts, O(1) a window.
pub struct Transitions<F> {
    differs: F,
    /// until[i]: transitions between samples 0..=i.
    until: Vec<u64>,
}

impl<F: Fn(f64, f64) -> bool> Transitions<F> {
    pub fn new(differs: F) -> Self {
        let until = Vec::new();
        Self { differs, until }
    }
}

impl<F: Fn(f64, f64) -> bool> WindowFn for Transitions<F> {
    const SPAN_ONLY: bool = true;

    fn load(&mut self, _ts: &[i64], values: &[f64]) {
        self.until.clear();
        self.until.push(0);
        let mut seen = 0;
        for pair in values.windows(2) {
            seen += u64::from((self.differs)(pair[0], pair[1]));
            self.until.push(seen);
        }
    }

    #[inline]
    fn eval(&mut self, _ts: &[i64], _values: &[f64], span: Span, _step: usize) -> Option<f64> {
        Some((self.until[span.hi - 1] - self.until[span.lo]) as f64)
    }
}

/// The extreme of the window by a queue of candidates, amortised O(1) a window. `better(a, b)`: a later `a` displaces
/// an earlier `b`. NaN counts only when there is nothing else; then the extreme is the window's last sample.
/// Gives the extreme's time when `TIME`, else its value.
pub struct Extreme<F, const TIME: bool> {
    better: F,
    queue: std::collections::VecDeque<usize>,
    pushed: usize,
}

impl<F: Fn(f64, f64) -> bool, const TIME: bool> Extreme<F, TIME> {
    pub fn new(better: F) -> Self {
        Self {
            better,
            queue: std::collections::VecDeque::new(),
            pushed: 0,
        }
    }
}

impl<F: Fn(f64, f64) -> bool, const TIME: bool> WindowFn for Extreme<F, TIME> {
    const SPAN_ONLY: bool = true;

    fn load(&mut self, _ts: &[i64], _values: &[f64]) {
        self.queue.clear();
        self.pushed = 0;
    }

    fn eval(&mut self, ts: &[i64], values: &[f64], span: Span, _step: usize) -> Option<f64> {
        self.pushed = self.pushed.max(span.lo);
        while self.queue.front().is_some_and(|&i| i < span.lo) {
            self.queue.pop_front();
        }
        for (i, &v) in values.iter().enumerate().take(span.hi).skip(self.pushed) {
            if v.is_nan() {
                continue;
            }
            while self
                .queue
                .back()
                .is_some_and(|&last| (self.better)(v, values[last]))
            {
                self.queue.pop_back();
            }
            self.queue.push_back(i);
        }
        self.pushed = span.hi;
        let at = self.queue.front().copied().unwrap_or(span.hi - 1);
        Some(if TIME { time_s(ts[at]) } else { values[at] })
    }
}
