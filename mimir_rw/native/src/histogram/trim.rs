//! The trim operators: only the observations on one side of a number are kept (promql-notes.md 14).
//!
//! Where the number lies inside a bucket, that is split by interpolation. Count and sum are then made anew, as if all
//! observations of a bucket were in its middle.

use super::quantile::fraction_below;
use super::walk::{Bounds, Place, SideWalk};
use super::{Buckets, FloatHistogram};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// `</`
    Below,
    /// `>/`
    Above,
}

/// What is left of a bucket, and the value that stands for it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Left {
    count: f64,
    middle: f64,
}

const NOTHING: Left = Left {
    count: 0.0,
    middle: 0.0,
};

/// How values are taken to spread within a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spread {
    Linear,
    Positive,
    Negative,
}

impl FloatHistogram {
    /// None when nothing is cut off. The result is compact.
    pub fn trimmed(&self, keep: Keep, limit: f64) -> Option<Self> {
        let mut out = self.clone();
        let mut totals = Totals::default();
        self.trim_side(
            &mut out.positive,
            Place::Positive,
            (keep, limit),
            &mut totals,
        );
        self.trim_side(
            &mut out.negative,
            Place::Negative,
            (keep, limit),
            &mut totals,
        );
        if self.zero_count > 0.0 {
            totals.replace(&mut out.zero_count, self.split_zero_bucket(keep, limit));
        }
        if !totals.changed {
            return None;
        }
        (out.count, out.sum) = (totals.count, totals.sum);
        out.compact();
        Some(out)
    }

    fn trim_side(
        &self,
        side: &mut Buckets,
        place: fn(i64) -> Place,
        (keep, limit): (Keep, f64),
        totals: &mut Totals,
    ) {
        let spread = match place(0) {
            _ if self.has_custom_buckets() => Spread::Linear,
            Place::Negative(_) => Spread::Negative,
            _ => Spread::Positive,
        };
        let before = side.clone();
        for (count, (index, _)) in side.counts.iter_mut().zip(SideWalk::new(&before)) {
            if *count != 0.0 {
                let bounds = self.whole_bounds(place(index));
                totals.replace(count, split(bounds, *count, keep, limit, spread));
            }
        }
    }

    fn split_zero_bucket(&self, keep: Keep, limit: f64) -> Left {
        let filled = |side: &Buckets| side.counts.iter().any(|&count| count != 0.0);
        let Bounds {
            mut lower,
            mut upper,
        } = self.bounds(Place::Zero);
        match (filled(&self.negative), filled(&self.positive)) {
            (true, false) => upper = 0.0,
            (false, true) => lower = 0.0,
            _ => {}
        }
        let whole = Left {
            count: self.zero_count,
            middle: (lower + upper) / 2.0,
        };
        if limit <= lower {
            return if keep == Keep::Above { whole } else { NOTHING };
        }
        if limit >= upper {
            return if keep == Keep::Below { whole } else { NOTHING };
        }
        let (part, middle) = match keep {
            Keep::Below => (limit - lower, (lower + limit) / 2.0),
            Keep::Above => (upper - limit, (limit + upper) / 2.0),
        };
        Left {
            count: self.zero_count * (part / (upper - lower)),
            middle,
        }
    }
}

/// Count and sum of what is kept.
#[derive(Default)]
struct Totals {
    count: f64,
    sum: f64,
    changed: bool,
}

impl Totals {
    fn replace(&mut self, count: &mut f64, left: Left) {
        self.count += left.count;
        self.sum += left.middle * left.count;
        if *count != left.count {
            (*count, self.changed) = (left.count, true);
        }
    }
}

fn split(bounds: Bounds, count: f64, keep: Keep, limit: f64, spread: Spread) -> Left {
    let Bounds { lower, upper } = bounds;
    let (inside, straddles) = match keep {
        Keep::Below => (upper <= limit, lower < limit),
        Keep::Above => (lower >= limit, upper > limit),
    };
    if inside {
        let middle = middle(bounds, spread);
        return Left { count, middle };
    }
    if !straddles {
        return NOTHING;
    }
    if lower == f64::NEG_INFINITY {
        return split_lowest(upper, count, keep, limit);
    }
    if upper == f64::INFINITY {
        return match keep {
            Keep::Below => NOTHING,
            Keep::Above => Left {
                count: if limit >= lower { count } else { 0.0 },
                middle: if limit >= lower { limit } else { lower },
            },
        };
    }
    let below = if limit <= lower {
        0.0
    } else if limit >= upper {
        count
    } else {
        count * fraction_below(bounds, limit, spread == Spread::Linear)
    };
    match keep {
        Keep::Below => Left {
            count: below,
            middle: middle(
                Bounds {
                    upper: limit,
                    ..bounds
                },
                spread,
            ),
        },
        Keep::Above => Left {
            count: count - below,
            middle: middle(
                Bounds {
                    lower: limit,
                    ..bounds
                },
                spread,
            ),
        },
    }
}

/// A bucket without a lower end in which the limit lies. It is taken to begin at zero where it ends above zero; else
/// nobody knows how its values spread, and none of them is kept.
fn split_lowest(upper: f64, count: f64, keep: Keep, limit: f64) -> Left {
    let finite = upper != f64::INFINITY;
    match keep {
        Keep::Below if limit > 0.0 && upper > 0.0 && finite => Left {
            count: count * limit / upper,
            middle: limit / 2.0,
        },
        Keep::Below if upper <= 0.0 => Left {
            count,
            middle: limit,
        },
        Keep::Above if limit >= 0.0 && finite => Left {
            count: count * (1.0 - limit / upper),
            middle: (limit + upper) / 2.0,
        },
        // The limit is below all numbers.
        Keep::Above if limit == f64::NEG_INFINITY => Left { count, middle: 0.0 },
        _ => NOTHING,
    }
}

/// The value that stands for all between two bounds.
fn middle(Bounds { lower, upper }: Bounds, spread: Spread) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) => match spread {
            Spread::Linear => (lower + upper) / 2.0,
            Spread::Positive => (lower * upper).abs().sqrt(),
            Spread::Negative => -(lower * upper).abs().sqrt(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{CUSTOM_BUCKETS, Span};

    fn side(offset: i32, counts: &[f64]) -> Buckets {
        Buckets {
            spans: vec![Span {
                offset,
                length: counts.len() as u32,
            }],
            counts: counts.to_vec(),
        }
    }

    fn exponential() -> FloatHistogram {
        FloatHistogram {
            count: 10.0,
            sum: 30.0,
            zero_threshold: 0.5,
            zero_count: 2.0,
            positive: side(1, &[4.0, 4.0]),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn nothing_cut_off_nothing_changed() {
        assert_eq!(exponential().trimmed(Keep::Below, 4.0), None);
        assert_eq!(exponential().trimmed(Keep::Above, -1.0), None);
    }

    #[test]
    fn a_bucket_is_split_where_the_limit_is() {
        let below = exponential()
            .trimmed(Keep::Below, 8f64.sqrt())
            .expect("something is cut off");
        assert!((below.count - 8.0).abs() < 1e-12);
        assert!((below.positive.counts[1] - 2.0).abs() < 1e-12);
        // 4 at √2, 2 at √(2 √8), 2 at 0.25.
        let sum = 4.0 * 2f64.sqrt() + 2.0 * (2.0 * 8f64.sqrt()).sqrt() + 2.0 * 0.25;
        assert!((below.sum - sum).abs() < 1e-12);
        let above = exponential()
            .trimmed(Keep::Above, 2.0)
            .expect("something is cut off");
        assert_eq!(above.count, 4.0);
        assert_eq!(above.positive, side(2, &[4.0]));
        assert_eq!(above.zero_count, 0.0);
    }

    #[test]
    fn the_zero_bucket_is_linear() {
        let below = exponential()
            .trimmed(Keep::Below, 0.125)
            .expect("something is cut off");
        assert_eq!((below.count, below.zero_count), (0.5, 0.5));
        assert_eq!(below.sum, 0.5 * 0.0625);
        assert!(below.positive.counts.is_empty());
    }

    #[test]
    fn open_ends_of_custom_buckets() {
        let h = FloatHistogram {
            schema: CUSTOM_BUCKETS,
            count: 9.0,
            sum: 30.0,
            positive: side(0, &[2.0, 3.0, 4.0]),
            custom: [1.0, 5.0].into(),
            ..FloatHistogram::default()
        };
        let counts = |keep, limit| h.trimmed(keep, limit).map(|h| h.positive.counts);
        assert_eq!(counts(Keep::Below, 7.0), Some(vec![2.0, 3.0]));
        assert_eq!(counts(Keep::Below, 3.0), Some(vec![2.0, 1.5]));
        assert_eq!(counts(Keep::Below, 0.5), Some(vec![1.0]));
        assert_eq!(counts(Keep::Above, 7.0), Some(vec![4.0]));
        assert_eq!(counts(Keep::Above, 0.25), Some(vec![1.5, 3.0, 4.0]));
        assert_eq!(counts(Keep::Above, f64::NEG_INFINITY), None);
        assert_eq!(counts(Keep::Below, f64::INFINITY), None);
    }
}
