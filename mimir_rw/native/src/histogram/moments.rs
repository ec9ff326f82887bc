//! Count, sum, mean and variance of one histogram (promql-notes.md 13).

use super::FloatHistogram;
use super::walk::{Bounds, Place};
use crate::windows::sum::Compensated;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    Count,
    Sum,
    Avg,
    Stddev,
    Stdvar,
}

impl Moment {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "stddev" => Self::Stddev,
            "stdvar" => Self::Stdvar,
            _ => return None,
        })
    }

    pub fn of(self, h: &FloatHistogram) -> f64 {
        match self {
            Self::Count => h.count,
            Self::Sum => h.sum,
            Self::Avg => h.sum / h.count,
            Self::Stdvar => h.variance(),
            Self::Stddev => h.variance().sqrt(),
        }
    }
}

impl FloatHistogram {
    /// As if all observations of a bucket were in its middle.
    fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut variance = Compensated::default();
        for (place, count) in self.walk().filter(|&(_, count)| count != 0.0) {
            let delta = self.middle(place) - mean;
            variance.add(count * delta * delta);
        }
        variance.total() / self.count
    }

    /// Arithmetic for custom buckets, else geometric; zero around zero.
    fn middle(&self, place: Place) -> f64 {
        let Bounds { lower, upper } = self.bounds(place);
        if self.has_custom_buckets() {
            (upper + lower) / 2.0
        } else if lower <= 0.0 && upper >= 0.0 {
            0.0
        } else if upper < 0.0 {
            -(upper * lower).sqrt()
        } else {
            (upper * lower).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Buckets, CUSTOM_BUCKETS, Span};

    fn side(offset: i32, counts: &[f64]) -> Buckets {
        Buckets {
            spans: vec![Span {
                offset,
                length: counts.len() as u32,
            }],
            counts: counts.to_vec(),
        }
    }

    #[test]
    fn of_exponential_buckets() {
        let h = FloatHistogram {
            count: 4.0,
            sum: 0.0,
            zero_count: 1.0,
            zero_threshold: 0.1,
            positive: side(3, &[1.0]),
            negative: side(3, &[1.0, 1.0]),
            ..FloatHistogram::default()
        };
        // Middles at 0, √32, -√32, -√128.
        assert!((Moment::Stdvar.of(&h) - (32.0 + 32.0 + 128.0) / 4.0).abs() < 1e-12);
        assert_eq!(Moment::Stddev.of(&h), Moment::Stdvar.of(&h).sqrt());
        assert_eq!(Moment::Avg.of(&h), 0.0);
        assert!(Moment::Avg.of(&FloatHistogram::default()).is_nan());
    }

    #[test]
    fn of_custom_buckets() {
        let h = FloatHistogram {
            schema: CUSTOM_BUCKETS,
            count: 4.0,
            sum: 20.0,
            positive: side(1, &[4.0]),
            custom: [4.0, 8.0].into(),
            ..FloatHistogram::default()
        };
        assert_eq!(Moment::Stdvar.of(&h), 1.0);
    }
}
