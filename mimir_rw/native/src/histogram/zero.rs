//! Zero buckets of different widths: the narrower is widened until its edge is in no populated bucket.

use super::layout::compensate;
use super::{Buckets, FloatHistogram};

/// What additions to the numbers of a histogram lost; the vectors are as long as its counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lost {
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive: Vec<f64>,
    pub negative: Vec<f64>,
}

/// A zero bucket: its threshold, its count, and what the count's additions lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZeroBucket {
    pub threshold: f64,
    pub count: f64,
    pub lost: f64,
}

enum Edge {
    Clear,
    /// In a populated bucket that ends here.
    Inside(f64),
}

impl FloatHistogram {
    /// The zero bucket of this histogram if its threshold were `threshold` (not below its own): larger yet where that
    /// is inside a populated bucket.
    pub fn widened_zero_bucket(&self, threshold: f64, lost: Option<&Lost>) -> ZeroBucket {
        let mut zero = ZeroBucket {
            threshold,
            count: self.zero_count,
            lost: lost.map_or(0.0, |lost| lost.zero_count),
        };
        if threshold == self.zero_threshold {
            return zero;
        }
        // Each round but the last ends at a bound beyond the one before: there are finitely many.
        loop {
            zero.count = self.zero_count;
            let positive = lost.map_or(&[][..], |lost| &lost.positive);
            if let Edge::Inside(bound) = self.swallow(&self.positive, positive, &mut zero) {
                zero.threshold = bound;
            }
            let negative = lost.map_or(&[][..], |lost| &lost.negative);
            match self.swallow(&self.negative, negative, &mut zero) {
                Edge::Clear => return zero,
                Edge::Inside(bound) => zero.threshold = bound,
            }
        }
    }

    /// Count the buckets that begin below the threshold into the zero bucket.
    fn swallow(&self, side: &Buckets, lost: &[f64], zero: &mut ZeroBucket) -> Edge {
        for (number, (index, count)) in side.iter().enumerate() {
            if self.bound(index.saturating_sub(1)) >= zero.threshold {
                break;
            }
            compensate(&mut zero.count, &mut zero.lost, count);
            if let Some(&more) = lost.get(number) {
                compensate(&mut zero.count, &mut zero.lost, more);
            }
            let end = self.bound(index);
            if end > zero.threshold {
                return match count != 0.0 {
                    true => Edge::Inside(end),
                    false => Edge::Clear,
                };
            }
        }
        Edge::Clear
    }

    /// Take over a zero bucket that `widened_zero_bucket` gave.
    fn widen_zero_bucket(&mut self, zero: ZeroBucket, lost: Option<&mut Lost>) {
        let schema = self.schema;
        let swallowed = |side: &Buckets| {
            let begins_below = |&(index, _): &(i64, f64)| {
                super::bounds::exponential_bound(index.saturating_sub(1), schema) < zero.threshold
            };
            side.iter().take_while(begins_below).count()
        };
        (self.zero_threshold, self.zero_count) = (zero.threshold, zero.count);
        let (positive, negative) = (swallowed(&self.positive), swallowed(&self.negative));
        self.positive.counts[..positive].fill(0.0);
        self.negative.counts[..negative].fill(0.0);
        match lost {
            None => {
                self.positive.compact();
                self.negative.compact();
            }
            Some(lost) => {
                lost.zero_count = zero.lost;
                lost.positive[..positive].fill(0.0);
                lost.negative[..negative].fill(0.0);
                self.positive.compact_compensated(&mut lost.positive);
                self.negative.compact_compensated(&mut lost.negative);
            }
        }
    }

    /// Widen the zero bucket of this histogram until it is as wide as that of `other` would be; the latter is returned.
    pub fn reconcile_zero_buckets(
        &mut self,
        other: &Self,
        mut lost: Option<&mut Lost>,
    ) -> ZeroBucket {
        let mut zero = ZeroBucket {
            threshold: other.zero_threshold,
            count: other.zero_count,
            lost: 0.0,
        };
        while zero.threshold != self.zero_threshold {
            if self.zero_threshold > zero.threshold {
                zero = other.widened_zero_bucket(self.zero_threshold, None);
            } else if zero.threshold > self.zero_threshold {
                let own = self.widened_zero_bucket(zero.threshold, lost.as_deref());
                self.widen_zero_bucket(own, lost.as_deref_mut());
            } else {
                break;
            }
        }
        zero
    }
}
