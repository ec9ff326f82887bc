//! Base-2 logarithm and power as the reference computes them, to the last digit: the algorithms of fdlibm's log and
//! exp, without fused operations.

use super::bounds::scaled;

const LN2_HI: f64 = 6.931_471_803_691_238e-1;
const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
const LOG: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];
const EXP: [f64; 5] = [
    1.666_666_666_666_666_6e-1,
    -2.777_777_777_701_559_3e-3,
    6.613_756_321_437_934e-5,
    -1.653_390_220_546_525_2e-6,
    4.138_136_797_057_238_5e-8,
];

/// A number in 0.5..1 and a power of two. `x` is positive and finite.
fn split(x: f64) -> (f64, i64) {
    let (x, scaled) = if x < f64::MIN_POSITIVE {
        (x * (1u64 << 52) as f64, 52)
    } else {
        (x, 0)
    };
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i64 - 1022;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1022 << 52));
    (mantissa, exponent - scaled)
}

/// Of a number in 0.5..1.
fn ln(x: f64) -> f64 {
    let (x, k) = if x < std::f64::consts::FRAC_1_SQRT_2 {
        (x * 2.0, -1.0)
    } else {
        (x, 0.0)
    };
    let f = x - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (LOG[0] + s4 * (LOG[2] + s4 * (LOG[4] + s4 * LOG[6])));
    let even = s4 * (LOG[1] + s4 * (LOG[3] + s4 * LOG[5]));
    let r = odd + even;
    let half_square = 0.5 * f * f;
    k * LN2_HI - ((half_square - (s * (half_square + r) + k * LN2_LO)) - f)
}

/// Of a number that is not negative.
pub fn log2(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if !x.is_finite() {
        return x;
    }
    let (mantissa, exponent) = split(x);
    if mantissa == 0.5 {
        return (exponent - 1) as f64;
    }
    ln(mantissa) * std::f64::consts::LOG2_E + exponent as f64
}

pub fn exp2(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x > 1.023_999_999_999_999_9e3 {
        return f64::INFINITY;
    }
    if x < -1.0740e3 {
        return 0.0;
    }
    let k = (x + f64::copysign(0.5, x)) as i64;
    let t = x - k as f64;
    let (hi, lo) = (t * LN2_HI, -t * LN2_LO);
    let r = hi - lo;
    let t = r * r;
    let c = r - t * (EXP[0] + t * (EXP[1] + t * (EXP[2] + t * (EXP[3] + t * EXP[4]))));
    let y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    match y < 1.0 {
        true => scaled(y, k),
        false => scaled(y * 0.5, k + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact() {
        for power in -1074..=1023 {
            let x = scaled(0.5, power + 1);
            assert_eq!(log2(x), power as f64);
            assert_eq!(exp2(power as f64), x);
        }
    }

    #[test]
    fn edges() {
        assert_eq!(log2(0.0), f64::NEG_INFINITY);
        assert_eq!(log2(f64::INFINITY), f64::INFINITY);
        assert!(log2(f64::NAN).is_nan() && exp2(f64::NAN).is_nan());
        assert_eq!(exp2(1024.0), f64::INFINITY);
        assert_eq!(exp2(f64::NEG_INFINITY), 0.0);
        assert_eq!(log2(f64::MAX), 1024.0);
    }

    #[test]
    fn close_to_the_true_values() {
        let mut x = 1.7e-9;
        while x < 1e9 {
            assert!((log2(x) - x.log2()).abs() <= 1e-15 * x.log2().abs().max(1.0));
            let back = exp2(log2(x));
            assert!((back - x).abs() <= 1e-14 * x);
            x *= 1.37;
        }
    }
}
