//! Powers, by squarings of the mantissa and the exponential of what the exponent's fraction leaves.

use super::exponential::{exp, ln};

/// Fraction within ½..1 (or the number itself, if it is 0 or not finite) and exponent.
pub fn frexp(x: f64) -> (f64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (normal, exponent) = normalized(x);
    let bits = normal.to_bits();
    let exponent = exponent + (bits >> 52 & 0x7ff) as i32 - 1022;
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent)
}

/// fraction · 2^exponent, rounded once where the result is subnormal.
pub fn ldexp(fraction: f64, exponent: i32) -> f64 {
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    let (normal, own) = normalized(fraction);
    let bits = normal.to_bits();
    let exponent = exponent.saturating_add(own + (bits >> 52 & 0x7ff) as i32 - 1023);
    if exponent < -1075 {
        return 0f64.copysign(fraction);
    }
    if exponent > 1023 {
        return f64::INFINITY.copysign(fraction);
    }
    let (biased, last) = match exponent < -1022 {
        true => (exponent + 53 + 1023, 1.0 / (1u64 << 53) as f64),
        false => (exponent + 1023, 1.0),
    };
    last * f64::from_bits(bits & !(0x7ff << 52) | (biased as u64) << 52)
}

fn normalized(x: f64) -> (f64, i32) {
    match x.abs() < f64::MIN_POSITIVE {
        true => (x * (1u64 << 52) as f64, -52),
        false => (x, 0),
    }
}

fn is_odd(x: f64) -> bool {
    x.abs() < (1u64 << 53) as f64 && x.trunc() == x && x as i64 & 1 == 1
}

pub fn pow(x: f64, y: f64) -> f64 {
    special(x, y).unwrap_or_else(|| by_squaring(x, y))
}

/// What follows from the kind of the operands alone.
fn special(x: f64, y: f64) -> Option<f64> {
    if y == 0.0 || x == 1.0 {
        return Some(1.0);
    }
    if y == 1.0 {
        return Some(x);
    }
    if x.is_nan() || y.is_nan() {
        return Some(f64::NAN);
    }
    if x == 0.0 {
        let size = if y < 0.0 { f64::INFINITY } else { 0.0 };
        return Some(if is_odd(y) { size.copysign(x) } else { size });
    }
    if y.is_infinite() {
        return Some(match x.abs() {
            _ if x == -1.0 => 1.0,
            size if (size < 1.0) == (y > 0.0) => 0.0,
            _ => f64::INFINITY,
        });
    }
    if x == f64::NEG_INFINITY {
        return Some(pow(-0.0, -y));
    }
    if x == f64::INFINITY {
        return Some(if y < 0.0 { 0.0 } else { f64::INFINITY });
    }
    match y {
        0.5 => Some(x.sqrt()),
        -0.5 => Some(1.0 / x.sqrt()),
        _ => None,
    }
}

fn by_squaring(x: f64, y: f64) -> f64 {
    let mut whole = y.abs().trunc();
    let mut fraction = y.abs() - whole;
    if fraction != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    if whole >= (1u64 << 63) as f64 {
        return match x.abs() {
            _ if x == -1.0 => 1.0,
            size if (size < 1.0) == (y > 0.0) => 0.0,
            _ => f64::INFINITY,
        };
    }
    let (mut result, mut exponent) = (1.0, 0i64);
    if fraction != 0.0 {
        if fraction > 0.5 {
            fraction -= 1.0;
            whole += 1.0;
        }
        result = exp(fraction * ln(x));
    }
    let (mut base, base_exponent) = frexp(x);
    let mut base_exponent = i64::from(base_exponent);
    let mut bits = whole as i64;
    while bits != 0 {
        if !(-4096..=4096).contains(&base_exponent) {
            // The result over- or underflows, whatever the rest adds.
            exponent += base_exponent;
            break;
        }
        if bits & 1 == 1 {
            result *= base;
            exponent += base_exponent;
        }
        base *= base;
        base_exponent *= 2;
        if base < 0.5 {
            base += base;
            base_exponent -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 {
        result = 1.0 / result;
        exponent = -exponent;
    }
    ldexp(result, exponent as i32)
}
