//! Sum and mean of many histograms, each number with Kahan-Neumaier compensation: of aggregations and of windows.

use super::arithmetic::{Incompatible, Noted, within_zero_bucket};
use super::custom::{Shared, shared_bounds};
use super::layout::compensate;
use super::zero::Lost;
use super::{Buckets, FloatHistogram, ResetHint};

/// A running total and what its additions lost.
#[derive(Clone, Debug)]
struct Total {
    total: FloatHistogram,
    lost: Lost,
    /// Nothing was added to the first: there is nothing to compensate, and its negative zeros stay what they are.
    alone: bool,
}

impl Total {
    fn new(first: FloatHistogram) -> Self {
        let lost = Lost {
            positive: vec![0.0; first.positive.counts.len()],
            negative: vec![0.0; first.negative.counts.len()],
            ..Lost::default()
        };
        Self {
            total: first,
            lost,
            alone: true,
        }
    }

    fn add(&mut self, other: &FloatHistogram) -> Result<Noted, Incompatible> {
        let mut noted = self.total.combine_hints(other)?;
        self.alone = false;
        if self.total.has_custom_buckets() {
            noted.bounds_reconciled = self.add_custom(other);
        } else {
            self.add_exponential(other);
        }
        compensate(&mut self.total.count, &mut self.lost.count, other.count);
        compensate(&mut self.total.sum, &mut self.lost.sum, other.sum);
        Ok(noted)
    }

    fn add_custom(&mut self, other: &FloatHistogram) -> bool {
        let (total, lost) = (&mut self.total, &mut self.lost.positive);
        if total.custom == other.custom {
            total
                .positive
                .add_compensated(lost, &other.positive, &[], 0);
            return false;
        }
        let mut shared = Shared::new(shared_bounds(&total.custom, &other.custom));
        shared.add(&total.positive, &total.custom, lost, 1.0);
        shared.add(&other.positive, &other.custom, &[], 1.0);
        (total.custom, total.positive, *lost) = shared.finish();
        true
    }

    fn add_exponential(&mut self, other: &FloatHistogram) {
        let (total, lost) = (&mut self.total, &mut self.lost);
        let zero = total.reconcile_zero_buckets(other, Some(lost));
        compensate(&mut total.zero_count, &mut lost.zero_count, zero.count);
        compensate(&mut total.zero_count, &mut lost.zero_count, zero.lost);
        if other.schema < total.schema {
            let by = (total.schema - other.schema) as u32;
            total.positive.reduce_compensated(&mut lost.positive, by);
            total.negative.reduce_compensated(&mut lost.negative, by);
            total.schema = other.schema;
        }
        let by = (other.schema - total.schema) as u32;
        let (schema, threshold) = (total.schema, total.zero_threshold);
        let add = |own: &mut Buckets, lost: &mut Vec<f64>, others: &Buckets| {
            let (less, less_lost);
            let (others, others_lost) = match by {
                0 => (others, &[][..]),
                _ => {
                    (less, less_lost) = reduced(others, by);
                    (&less, &less_lost[..])
                }
            };
            let skip = within_zero_bucket(others, schema, threshold);
            own.add_compensated(lost, others, others_lost, skip);
        };
        add(&mut total.positive, &mut lost.positive, &other.positive);
        add(&mut total.negative, &mut lost.negative, &other.negative);
    }

    fn scale(&mut self, change: impl Fn(f64) -> f64) {
        let (total, lost) = (&mut self.total, &mut self.lost);
        let single = [
            &mut total.zero_count,
            &mut total.count,
            &mut total.sum,
            &mut lost.zero_count,
            &mut lost.count,
            &mut lost.sum,
        ];
        let many = [
            &mut total.positive.counts,
            &mut total.negative.counts,
            &mut lost.positive,
            &mut lost.negative,
        ];
        let many = many.into_iter().flatten();
        for number in single.into_iter().chain(many) {
            *number = change(*number);
        }
    }

    fn byte_size(&self) -> usize {
        self.total.byte_size() + 8 * (self.lost.positive.len() + self.lost.negative.len())
    }

    fn finish(mut self) -> FloatHistogram {
        if self.alone {
            return self.total;
        }
        let (total, lost) = (&mut self.total, self.lost);
        total.zero_count += lost.zero_count;
        total.count += lost.count;
        total.sum += lost.sum;
        for (side, lost) in [
            (&mut total.positive, lost.positive),
            (&mut total.negative, lost.negative),
        ] {
            for (count, lost) in side.counts.iter_mut().zip(lost) {
                *count += lost;
            }
        }
        self.total
    }
}

fn reduced(buckets: &Buckets, by: u32) -> (Buckets, Vec<f64>) {
    let (mut less, mut lost) = (buckets.clone(), vec![0.0; buckets.counts.len()]);
    less.reduce_compensated(&mut lost, by);
    (less, lost)
}

/// Which of the hints that contradict each other were seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    reset: bool,
    not_reset: bool,
    bounds_reconciled: bool,
}

impl Seen {
    fn hint(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.not_reset |= hint == ResetHint::NotReset;
    }

    fn noted(self) -> Noted {
        Noted {
            reset_collision: self.reset && self.not_reset,
            bounds_reconciled: self.bounds_reconciled,
        }
    }
}

/// The sum of one histogram or more. Its result may have empty buckets.
#[derive(Clone, Debug)]
pub struct HistogramSum {
    total: Total,
    seen: Seen,
}

impl HistogramSum {
    pub fn new(first: &FloatHistogram) -> Self {
        let mut seen = Seen::default();
        seen.hint(first.hint);
        Self {
            total: Total::new(first.clone()),
            seen,
        }
    }

    /// After an error the sum is of no use.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<(), Incompatible> {
        self.seen.hint(other.hint);
        self.seen.bounds_reconciled |= self.total.add(other)?.bounds_reconciled;
        Ok(())
    }

    pub fn noted(&self) -> Noted {
        self.seen.noted()
    }

    /// Estimate of the bytes held, beside its own.
    pub fn byte_size(&self) -> usize {
        self.total.byte_size()
    }

    pub fn finish(self) -> FloatHistogram {
        self.total.finish()
    }
}

/// The mean of one histogram or more: their sum, until that would overflow; from there on an incremental mean.
#[derive(Clone, Debug)]
pub struct HistogramMean {
    /// The sum, or the mean once `incremental`.
    total: Total,
    count: f64,
    incremental: bool,
    seen: Seen,
}

impl HistogramMean {
    pub fn new(first: &FloatHistogram) -> Self {
        let mut seen = Seen::default();
        seen.hint(first.hint);
        Self {
            total: Total::new(first.clone()),
            count: 1.0,
            incremental: false,
            seen,
        }
    }

    /// After an error the mean is of no use.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<(), Incompatible> {
        self.seen.hint(other.hint);
        self.count += 1.0;
        if !self.incremental && self.add_to_sum(other)? {
            return Ok(());
        }
        let (count, before) = (self.count, self.count - 1.0);
        if !self.incremental {
            self.incremental = true;
            self.total.scale(|number| number / before);
        }
        let weight = before / count;
        self.total.scale(|number| number * weight);
        let mut share = other.clone();
        share.divide(count);
        self.seen.bounds_reconciled |= self.total.add(&share)?.bounds_reconciled;
        Ok(())
    }

    /// False, and nothing is added, when the sum would overflow.
    fn add_to_sum(&mut self, other: &FloatHistogram) -> Result<bool, Incompatible> {
        // Also where all buckets merge into one, and there are fewer than 2^32.
        const SAFE: f64 = f64::MAX * 1e-12;
        let safe = self.total.total.magnitude() < SAFE && other.magnitude() < SAFE;
        if safe {
            self.seen.bounds_reconciled |= self.total.add(other)?.bounds_reconciled;
            return Ok(true);
        }
        let mut next = self.total.clone();
        let noted = next.add(other)?;
        self.seen.bounds_reconciled |= noted.bounds_reconciled;
        if next.total.magnitude().is_infinite() {
            return Ok(false);
        }
        self.total = next;
        Ok(true)
    }

    pub fn noted(&self) -> Noted {
        self.seen.noted()
    }

    /// Estimate of the bytes held, beside its own.
    pub fn byte_size(&self) -> usize {
        self.total.byte_size()
    }

    pub fn finish(mut self) -> FloatHistogram {
        if !self.incremental {
            let count = self.count;
            self.total.scale(|number| number / count);
        }
        self.total.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{FloatHistogram, HistogramMean, HistogramSum};

    #[test]
    fn one_alone_keeps_its_negative_zeros() {
        let h = FloatHistogram {
            count: -0.0,
            sum: -0.0,
            ..FloatHistogram::default()
        };
        let sum = HistogramSum::new(&h).finish();
        let mean = HistogramMean::new(&h).finish();
        for made in [sum, mean] {
            assert!(made.count.is_sign_negative() && made.sum.is_sign_negative());
        }
        let mut two = HistogramSum::new(&h);
        two.add(&h).unwrap();
        assert!(two.finish().sum.is_sign_positive());
    }
}
