//! Kahan-Neumaier compensated summation, and the mean built on it.

/// Running sum `sum + c`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Compensated {
    pub sum: f64,
    pub c: f64,
}

impl Compensated {
    #[inline]
    pub fn add(&mut self, x: f64) {
        let t = self.sum + x;
        let lost = if self.sum.abs() >= x.abs() {
            (self.sum - t) + x
        } else {
            (x - t) + self.sum
        };
        self.c = if t.is_infinite() { 0.0 } else { self.c + lost };
        self.sum = t;
    }

    #[inline]
    pub fn total(&self) -> f64 {
        self.sum + self.c
    }
}

/// Mean of a sequence: a compensated sum, until it would overflow; from there on an incremental mean.
#[derive(Clone, Copy, Default, Debug)]
pub struct Mean {
    /// The sum, or the mean once `incremental`.
    acc: Compensated,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// A mean that has been taken apart; see `sum`. count: of the values so far.
    pub fn resume(acc: Compensated, count: f64, incremental: bool) -> Self {
        Self {
            acc,
            count,
            incremental,
        }
    }

    /// The sum, or the mean once it `is_incremental`.
    pub fn sum(&self) -> Compensated {
        self.acc
    }

    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    #[inline]
    pub fn add(&mut self, x: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.acc.sum = x;
            return;
        }
        if !self.incremental {
            let mut next = self.acc;
            next.add(x);
            if !next.sum.is_infinite() {
                self.acc = next;
                return;
            }
            self.incremental = true;
            self.acc.sum /= self.count - 1.0;
            self.acc.c /= self.count - 1.0;
        }
        let q = (self.count - 1.0) / self.count;
        self.acc = Compensated {
            sum: q * self.acc.sum,
            c: q * self.acc.c,
        };
        self.acc.add(x / self.count);
    }

    /// Of at least one value.
    #[inline]
    pub fn result(&self) -> f64 {
        if self.incremental {
            self.acc.total()
        } else {
            self.acc.sum / self.count + self.acc.c / self.count
        }
    }
}
