//! Bounds of buckets by their index (promql-notes.md 13).

use super::mantissas::MANTISSAS;
use super::{CUSTOM_BUCKETS, FloatHistogram};

/// Upper bound, in absolute terms, of bucket `index` of an exponential schema; the bucket's lower bound is that of
/// `index - 1`. The last bucket of finite numbers ends at the largest of them, the one behind it at infinity.
pub fn exponential_bound(index: i64, schema: i32) -> f64 {
    let (mantissa, exponent) = match schema {
        0..=8 => {
            let fraction = index & ((1 << schema) - 1);
            let mantissa = MANTISSAS[(fraction as usize) << (8 - schema)];
            (mantissa, (index >> schema).saturating_add(1))
        }
        ..0 => {
            let step = 1i64 << schema.unsigned_abs().min(62);
            (0.5, index.saturating_mul(step).saturating_add(1))
        }
        _ => return (index as f64 * f64::from(-schema).exp2()).exp2(),
    };
    if mantissa == 0.5 && exponent == 1025 {
        return f64::MAX;
    }
    scaled(mantissa, exponent)
}

/// mantissa × 2^exponent, rounded once. mantissa: in [0.5, 1).
pub fn scaled(mantissa: f64, exponent: i64) -> f64 {
    let power = |exponent: i64| f64::from_bits(((exponent + 1023) as u64) << 52);
    match exponent {
        1025.. => f64::INFINITY,
        -1000..=1024 => mantissa * 2.0 * power(exponent - 1),
        -1100..-1000 => mantissa * power(exponent + 100) * power(-100),
        _ => 0.0,
    }
}

impl FloatHistogram {
    /// Upper bound of bucket `index`: of custom buckets, or in absolute terms of an exponential schema.
    pub fn bound(&self, index: i64) -> f64 {
        match self.schema {
            CUSTOM_BUCKETS => custom_bound(&self.custom, index),
            schema => exponential_bound(index, schema),
        }
    }
}

/// Upper bound of custom bucket `index`: -Inf before the first, +Inf from the last on.
pub fn custom_bound(bounds: &[f64], index: i64) -> f64 {
    match usize::try_from(index) {
        Err(_) => f64::NEG_INFINITY,
        Ok(index) => bounds.get(index).copied().unwrap_or(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_bounds_of_every_schema() {
        for schema in -4..=8i32 {
            assert_eq!(exponential_bound(0, schema), 1.0, "schema {schema}");
        }
        assert_eq!(exponential_bound(1, 0), 2.0);
        assert_eq!(exponential_bound(-1, 0), 0.5);
        assert_eq!(exponential_bound(1, -2), 16.0);
        assert_eq!(exponential_bound(1, 1), 2.0 * 0.7071067811865475);
        assert_eq!(exponential_bound(-1, 1), 0.7071067811865475);
    }

    #[test]
    fn the_last_finite_bucket_ends_at_the_largest_number() {
        for schema in 0..=8 {
            let last = 1024i64 << schema;
            assert_eq!(exponential_bound(last, schema), f64::MAX);
            assert_eq!(exponential_bound(last + 1, schema), f64::INFINITY);
            assert!(exponential_bound(last - 1, schema) < f64::MAX);
        }
        assert_eq!(exponential_bound(256, -2), f64::MAX);
        assert_eq!(exponential_bound(257, -2), f64::INFINITY);
    }

    #[test]
    fn small_bounds_are_subnormal_and_then_zero() {
        assert_eq!(exponential_bound(-1074, 0), f64::from_bits(1));
        assert_eq!(exponential_bound(-1022, 0), f64::MIN_POSITIVE);
        assert_eq!(exponential_bound(-1080, 0), 0.0);
        assert_eq!(exponential_bound(i64::MIN, 8), 0.0);
        assert_eq!(exponential_bound(i64::MAX, -4), f64::INFINITY);
    }
}
