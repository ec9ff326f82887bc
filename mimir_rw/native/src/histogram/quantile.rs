//! Quantiles and fractions of one histogram (promql-notes.md 14).

use super::FloatHistogram;
use super::walk::{Bounds, Place};
use crate::math::exponential::{exp2, log2};

/// What NaN among the observations did to a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantileNote {
    /// It lies among them.
    Nan,
    /// They count as if they were greater than all others.
    Skewed,
}

impl FloatHistogram {
    /// A bucket around zero ends there where all observations are of one sign.
    fn one_sided(&self, mut bounds: Bounds) -> Bounds {
        match (
            self.negative.counts.is_empty(),
            self.positive.counts.is_empty(),
        ) {
            (true, false) => bounds.lower = 0.0,
            (false, true) => bounds.upper = 0.0,
            _ => {}
        }
        bounds
    }

    /// Observations in buckets: all but NaN.
    fn in_buckets(&self) -> f64 {
        self.walk().map(|(_, count)| count).sum()
    }

    pub fn quantile(&self, q: f64) -> (f64, Option<QuantileNote>) {
        if q < 0.0 {
            return (f64::NEG_INFINITY, None);
        }
        if q > 1.0 {
            return (f64::INFINITY, None);
        }
        if self.count == 0.0 || q.is_nan() {
            return (f64::NAN, None);
        }
        let from_below = self.sum.is_nan() || q < 0.5;
        let rank = if from_below { q } else { 1.0 - q } * self.count;
        let found = if from_below {
            Reached::new(self.walk(), rank, self.sum.is_nan())
        } else {
            Reached::new(self.walk().rev(), rank, false)
        };
        let nowhere = Bounds {
            lower: 0.0,
            upper: 0.0,
        };
        let bounds = match found.place {
            Some(Place::Zero) => self.one_sided(self.bounds(Place::Zero)),
            Some(place) => self.bounds(place),
            None => nowhere,
        };
        self.quantile_in(&found, bounds, rank, from_below)
    }

    /// The value at `rank` within the bucket that reaches it.
    fn quantile_in(
        &self,
        found: &Reached,
        Bounds { mut lower, upper }: Bounds,
        rank: f64,
        from_below: bool,
    ) -> (f64, Option<QuantileNote>) {
        if self.has_custom_buckets() {
            if lower == f64::NEG_INFINITY {
                if upper <= 0.0 {
                    return (upper, None);
                }
                lower = 0.0;
            } else if upper == f64::INFINITY {
                return (lower, None);
            }
        }
        let cumulative = if found.cumulative > self.count {
            self.count
        } else {
            found.cumulative
        };
        if cumulative < rank {
            return match self.sum.is_nan() {
                true => (f64::NAN, Some(QuantileNote::Nan)),
                false => (upper, None),
            };
        }
        let within = if from_below {
            rank - (cumulative - found.count)
        } else {
            cumulative - rank
        };
        let skewed = self.sum.is_nan() && found.total < self.count;
        // Where there may be NaN the reference interpolates in the last bucket, with the rank in the one found.
        let (bounds, count) = match found.last {
            Some((place, count)) => (self.bounds(place), count),
            None => (Bounds { lower, upper }, found.count),
        };
        let value = self.interpolate(bounds, within / count);
        (value, skewed.then_some(QuantileNote::Skewed))
    }

    fn interpolate(&self, Bounds { lower, upper }: Bounds, fraction: f64) -> f64 {
        if self.has_custom_buckets() || (lower <= 0.0 && upper >= 0.0) {
            return lower + (upper - lower) * fraction;
        }
        let (log_lower, log_upper) = (log2(lower.abs()), log2(upper.abs()));
        if lower > 0.0 {
            exp2(log_lower + (log_upper - log_lower) * fraction)
        } else {
            -exp2(log_upper + (log_lower - log_upper) * (1.0 - fraction))
        }
    }

    /// Share of the observations between two values; and whether NaN among them was left out.
    pub fn fraction(&self, lower: f64, upper: f64) -> (f64, bool) {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return (f64::NAN, false);
        }
        if lower >= upper {
            return (0.0, false);
        }
        let (lower_rank, upper_rank) = self.ranks(lower, upper);
        let (mut count, mut excluded) = (self.count, false);
        if self.sum.is_nan() {
            count = self.in_buckets();
            excluded = count < self.count;
        }
        let capped = |rank: Option<f64>| rank.map_or(count, |r| if r > count { count } else { r });
        let share = (capped(upper_rank) - capped(lower_rank)) / self.count;
        (share, excluded)
    }

    /// Observations below each of two values; None for a value past the last bucket.
    fn ranks(&self, lower: f64, upper: f64) -> (Option<f64>, Option<f64>) {
        let (mut below_lower, mut below_upper) = (None, None);
        let mut rank = 0.0;
        for (place, count) in self.walk() {
            let mut bounds = self.bounds(place);
            if bounds.lower <= 0.0 && bounds.upper >= 0.0 {
                bounds = self.one_sided(bounds);
            }
            let step = |seen: Option<f64>, value: f64| -> Option<f64> {
                if seen.is_some() {
                    seen
                } else if bounds.lower >= value {
                    Some(rank)
                } else if bounds.upper > value {
                    Some(self.rank_in(bounds, count, rank, value))
                } else {
                    None
                }
            };
            below_lower = step(below_lower, lower);
            below_upper = step(below_upper, upper);
            if below_lower.is_some() && below_upper.is_some() {
                break;
            }
            rank += count;
        }
        (below_lower, below_upper)
    }

    /// The rank of a value inside a bucket. Of one without a lower end the whole count.
    fn rank_in(&self, bounds: Bounds, count: f64, rank: f64, value: f64) -> f64 {
        let linear = self.has_custom_buckets() || (bounds.lower <= 0.0 && bounds.upper >= 0.0);
        if linear && bounds.lower == f64::NEG_INFINITY {
            return count;
        }
        rank + count * fraction_below(bounds, value, linear)
    }
}

/// Part of a bucket's width that lies below a value inside it, linear or on a logarithmic scale.
pub fn fraction_below(Bounds { lower, upper }: Bounds, value: f64, linear: bool) -> f64 {
    if linear {
        return (value - lower) / (upper - lower);
    }
    let (log_lower, log_upper) = (log2(lower.abs()), log2(upper.abs()));
    let log_value = log2(value.abs());
    if value > 0.0 {
        (log_value - log_lower) / (log_upper - log_lower)
    } else {
        1.0 - ((log_value - log_upper) / (log_lower - log_upper))
    }
}

/// The first bucket at which the running count reaches a rank, else the last one.
struct Reached {
    place: Option<Place>,
    count: f64,
    /// Including that bucket.
    cumulative: f64,
    /// Of all buckets, where it was asked for; then also the last of them if that is another.
    total: f64,
    last: Option<(Place, f64)>,
}

impl Reached {
    fn new(mut walk: impl Iterator<Item = (Place, f64)>, rank: f64, with_total: bool) -> Self {
        let mut found = Self {
            place: None,
            count: 0.0,
            cumulative: 0.0,
            total: f64::NAN,
            last: None,
        };
        for (place, count) in walk.by_ref() {
            (found.place, found.count) = (Some(place), count);
            if count == 0.0 {
                continue;
            }
            found.cumulative += count;
            if found.cumulative >= rank {
                break;
            }
        }
        if with_total {
            found.total = found.cumulative;
            for (place, count) in walk {
                found.total += count;
                found.last = Some((place, count));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::SQRT_2;

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

    /// The reference's power of a half, which is not the nearest float.
    const ROOT: f64 = SQRT_2.next_down();

    fn exponential() -> FloatHistogram {
        FloatHistogram {
            count: 8.0,
            sum: 20.0,
            positive: side(1, &[4.0, 4.0]),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn worked_values() {
        let h = exponential();
        for (q, expected) in [
            (0.25, ROOT),
            (0.5, 2.0),
            (0.75, 2.82842712474619),
            (0.9, 3.4822022531844965),
        ] {
            assert_eq!(h.quantile(q), (expected, None));
        }
        assert_eq!(h.quantile(-0.1).0, f64::NEG_INFINITY);
        assert_eq!(h.quantile(1.1).0, f64::INFINITY);
        assert!(h.quantile(f64::NAN).0.is_nan());
        assert!(FloatHistogram::default().quantile(0.5).0.is_nan());
    }

    #[test]
    fn negative_side_mirrors() {
        let mut h = exponential();
        std::mem::swap(&mut h.positive, &mut h.negative);
        assert_eq!(h.quantile(0.75), (-ROOT, None));
        assert_eq!(h.quantile(0.25), (-2.82842712474619, None));
        assert_eq!(h.fraction(f64::NEG_INFINITY, -SQRT_2), (0.75, false));
    }

    #[test]
    fn zero_bucket_is_linear() {
        let mut h = exponential();
        (h.zero_count, h.zero_threshold, h.count) = (8.0, 0.5, 16.0);
        assert_eq!(h.quantile(0.25), (0.25, None));
        h.negative = side(3, &[0.0]);
        assert_eq!(h.quantile(0.25), (0.0, None));
    }

    #[test]
    fn custom_buckets_are_linear_and_end_at_their_bounds() {
        let h = FloatHistogram {
            schema: CUSTOM_BUCKETS,
            count: 10.0,
            sum: 30.0,
            positive: side(0, &[2.0, 4.0, 4.0]),
            custom: [1.0, 5.0].into(),
            ..FloatHistogram::default()
        };
        assert_eq!(h.quantile(0.1), (0.5, None));
        assert_eq!(h.quantile(0.4), (3.0, None));
        assert_eq!(h.quantile(0.9), (5.0, None));
        assert_eq!(h.fraction(0.0, 3.0), (0.4, false));
        assert_eq!(h.fraction(f64::NEG_INFINITY, f64::INFINITY), (1.0, false));
    }

    #[test]
    fn nan_observations_are_noted() {
        let mut h = exponential();
        (h.count, h.sum) = (10.0, f64::NAN);
        assert_eq!(h.quantile(0.4), (4.0, Some(QuantileNote::Skewed)));
        let (value, note) = h.quantile(0.9);
        assert!(value.is_nan() && note == Some(QuantileNote::Nan));
        assert_eq!(h.fraction(0.0, f64::INFINITY), (0.8, true));
        h.count = 8.0;
        assert_eq!(h.quantile(0.5), (4.0, None));
    }

    #[test]
    fn fraction_of_nothing_or_to_nowhere() {
        let h = exponential();
        assert!(h.fraction(f64::NAN, 1.0).0.is_nan());
        assert!(FloatHistogram::default().fraction(0.0, 1.0).0.is_nan());
        assert_eq!(h.fraction(2.0, 2.0), (0.0, false));
        assert_eq!(h.fraction(1.0, 2.0), (0.5, false));
        assert_eq!(h.fraction(2.82842712474619, 100.0).0, 0.25);
    }
}
