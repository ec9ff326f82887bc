//! deriv, predict_linear, double_exponential_smoothing.

use super::grid::{Span, WindowFn};
use super::sum::Compensated;

/// Slope per second and value at `origin` (ms) of the least-squares line.
fn line(ts: &[i64], values: &[f64], origin: i64) -> (f64, f64) {
    if values.iter().all(|&v| v == values[0]) {
        return if values[0].is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, values[0])
        };
    }
    let mut sums = [Compensated::default(); 4];
    for (&t, &y) in ts.iter().zip(values) {
        let x = t.wrapping_sub(origin) as f64 / 1e3;
        for (sum, term) in sums.iter_mut().zip([x, y, x * y, x * x]) {
            sum.add(term);
        }
    }
    let n = values.len() as f64;
    let [x, y, xy, xx] = sums.map(|s| s.total());
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Slope of the line through the window, times taken relative to its first sample.
pub fn deriv(ts: &[i64], values: &[f64]) -> Option<f64> {
    (ts.len() >= 2).then(|| line(ts, values, ts[0]).0)
}

/// The line through the window, `seconds[step]` after the evaluation time `origin_ms[step]`.
pub struct PredictLinear<'a> {
    pub seconds: &'a [f64],
    pub origin_ms: &'a [f64],
}

impl WindowFn for PredictLinear<'_> {
    const SPAN_ONLY: bool = false;

    fn eval(&mut self, ts: &[i64], values: &[f64], span: Span, step: usize) -> Option<f64> {
        if span.hi - span.lo < 2 {
            return None;
        }
        let window = span.lo..span.hi;
        let origin = self.origin_ms[step] as i64;
        let (slope, intercept) = line(&ts[window.clone()], &values[window], origin);
        Some(slope * self.seconds[step] + intercept)
    }
}

/// Holt's linear method with a smoothing and a trend factor for each step.
pub struct Smoothing<'a> {
    pub smoothing: &'a [f64],
    pub trend: &'a [f64],
}

impl WindowFn for Smoothing<'_> {
    const SPAN_ONLY: bool = false;

    fn eval(&mut self, _ts: &[i64], values: &[f64], span: Span, step: usize) -> Option<f64> {
        let values = &values[span.lo..span.hi];
        if values.len() < 2 {
            return None;
        }
        let (sf, tf) = (self.smoothing[step], self.trend[step]);
        let mut previous = 0.0;
        let mut level = values[0];
        let mut slope = values[1] - values[0];
        for (i, &value) in values.iter().enumerate().skip(1) {
            let scaled = sf * value;
            if i > 1 {
                slope = tf * (level - previous) + (1.0 - tf) * slope;
            }
            let carried = (1.0 - sf) * (level + slope);
            previous = level;
            level = scaled + carried;
        }
        Some(level)
    }
}
