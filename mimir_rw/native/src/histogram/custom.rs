//! Custom buckets of different bounds: both histograms are brought to the bounds that they share.

use std::sync::Arc;

use super::Buckets;
use super::layout::{SpanBuilder, compensate};

/// The bounds that both have; both ascend.
pub fn shared_bounds(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while let (Some(&left), Some(&right)) = (a.get(i), b.get(j)) {
        if left == right {
            out.push(left);
            j += 1;
            i += 1;
        } else if left < right {
            i += 1;
        } else {
            j += 1;
        }
    }
    out.into()
}

/// Counts on shared bounds, each with what its additions lost; one bucket more than there are bounds.
pub struct Shared {
    bounds: Arc<[f64]>,
    counts: Vec<f64>,
    lost: Vec<f64>,
}

impl Shared {
    pub fn new(bounds: Arc<[f64]>) -> Self {
        let buckets = bounds.len() + 1;
        Self {
            bounds,
            counts: vec![0.0; buckets],
            lost: vec![0.0; buckets],
        }
    }

    /// Add each count, times `sign`, to the bucket of the first shared bound that is not below the bound it has.
    /// lost: what is to be added with each count, or empty.
    pub fn add(&mut self, buckets: &Buckets, bounds: &[f64], lost: &[f64], sign: f64) {
        let mut place = 0;
        for (number, (index, count)) in buckets.iter().enumerate() {
            let bound = usize::try_from(index)
                .ok()
                .and_then(|index| bounds.get(index));
            let at = bound.map_or(self.bounds.len(), |&bound| {
                while self.bounds.get(place).is_some_and(|&shared| shared < bound) {
                    place += 1;
                }
                place
            });
            compensate(&mut self.counts[at], &mut self.lost[at], sign * count);
            if let Some(&more) = lost.get(number) {
                compensate(&mut self.counts[at], &mut self.lost[at], more);
            }
        }
    }

    /// Bounds, buckets that are not empty, and what their additions lost.
    pub fn finish(self) -> (Arc<[f64]>, Buckets, Vec<f64>) {
        let mut spans = SpanBuilder::default();
        let (mut counts, mut lost) = (Vec::new(), Vec::new());
        for (index, (&count, &c)) in self.counts.iter().zip(&self.lost).enumerate() {
            if count != 0.0 || c != 0.0 {
                spans.push(index as i64);
                counts.push(count);
                lost.push(c);
            }
        }
        let spans = spans.finish();
        (self.bounds, Buckets { spans, counts }, lost)
    }
}
