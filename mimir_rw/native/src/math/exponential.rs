//! Exponential, logarithms, and the hyperbolic functions that are made of them.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

use super::power::{frexp, ldexp};

const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// 1 / k! for k = 8 down to 2, but 1 for the last.
const TAYLOR: [f64; 8] = [
    2.480_158_730_158_73e-5,
    1.984_126_984_126_984e-4,
    1.388_888_888_888_889e-3,
    8.333_333_333_333_333e-3,
    4.166_666_666_666_666_4e-2,
    1.666_666_666_666_666_6e-1,
    0.5,
    1.0,
];
/// Of the logarithm's series in s², s = f / (2 + f).
const LOG: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];
const EXP2: [f64; 5] = [
    1.666_666_666_666_666_6e-1,
    -2.777_777_777_701_559_3e-3,
    6.613_756_321_437_934e-5,
    -1.653_390_220_546_525_2e-6,
    4.138_136_797_057_238_5e-8,
];

/// Of x less a multiple of ln 2, sixteen times halved, and four times squared again.
pub fn exp(x: f64) -> f64 {
    const LN2_UPPER: f64 = 6.931_471_805_596_63e-1;
    const LN2_REST: f64 = 2.823_529_056_303_157_7e-13;
    if x.is_nan() || x == f64::INFINITY || x == f64::NEG_INFINITY {
        return if x == f64::NEG_INFINITY { 0.0 } else { x };
    }
    if x > 709.782_712_893_384 {
        return f64::INFINITY;
    }
    let k = (x * LOG2_E).round_ties_even();
    if k < -1075.0 {
        return 0.0;
    }
    let r = (-k).mul_add(LN2_UPPER, x);
    let r = (-k).mul_add(LN2_REST, r) * 0.0625;
    let series = TAYLOR[1..]
        .iter()
        .fold(TAYLOR[0], |sum, &term| sum.mul_add(r, term));
    let mut y = r * series;
    for _ in 0..3 {
        y *= y + 2.0;
    }
    let y = (y + 2.0).mul_add(y, 1.0);
    scaled(y, k as i32)
}

/// y · 2^k, where a power below the smallest normal is reached in two steps.
fn scaled(y: f64, k: i32) -> f64 {
    let power = |biased: i32| f64::from_bits((biased as u64) << 52);
    match k + 1023 {
        2047.. => f64::INFINITY,
        biased @ 1.. => y * power(biased),
        biased => y * power(biased + 1022) * power(1),
    }
}

pub fn exp2(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > 1.023_999_999_999_999_9e3 {
        return f64::INFINITY;
    }
    if x < -1074.0 {
        return 0.0;
    }
    let k = (x + 0.5f64.copysign(x)).trunc();
    let t = x - k;
    let (high, low) = (t * LN2_HIGH, -t * LN2_LOW);
    let r = high - low;
    let t = r * r;
    let [p1, p2, p3, p4, p5] = EXP2;
    let c = r - t * (p1 + t * (p2 + t * (p3 + t * (p4 + t * p5))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    ldexp(y, k as i32)
}

/// Subnormal numbers are taken as if their mantissa had its leading bit, as on the reference's machine.
pub fn ln(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x < 0.0 {
        return f64::NAN;
    }
    if !x.is_finite() {
        return x;
    }
    let bits = x.to_bits();
    let mut fraction = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3fe0_0000_0000_0000);
    let mut k = ((bits >> 52 & 0x7ff) as i32 - 0x3fe) as f64;
    if fraction <= FRAC_1_SQRT_2 {
        k -= 1.0;
        fraction *= 2.0;
    }
    let f = fraction - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let t1 = s2 * (LOG[0] + s4 * (LOG[2] + s4 * (LOG[4] + s4 * LOG[6])));
    let t2 = s4 * (LOG[1] + s4 * (LOG[3] + s4 * LOG[5]));
    let half_square = 0.5 * f * f;
    let inner = s * (half_square + (t1 + t2)) + k * LN2_LOW;
    k * LN2_HIGH - ((half_square - inner) - f)
}

pub fn log10(x: f64) -> f64 {
    ln(x) * std::f64::consts::LOG10_E
}

pub fn log2(x: f64) -> f64 {
    let (fraction, exponent) = frexp(x);
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    ln(fraction) * LOG2_E + f64::from(exponent)
}

/// ln(1 + x).
pub fn log1p(x: f64) -> f64 {
    const SQRT2_LESS_1: f64 = 4.142_135_623_730_950_3e-1;
    const SQRT_HALF_LESS_1: f64 = -2.928_932_188_134_525e-1;
    if x < -1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let size = x.abs();
    if size < 2f64.powi(-29) {
        return if size < 2f64.powi(-54) {
            x
        } else {
            x - x * x * 0.5
        };
    }
    let near = size < SQRT2_LESS_1 && x > SQRT_HALF_LESS_1;
    let Split { k, f, c, tiny } = if near {
        Split {
            k: 0.0,
            f: x,
            c: 0.0,
            tiny: false,
        }
    } else {
        split(x)
    };
    let half_square = 0.5 * f * f;
    if tiny {
        if f == 0.0 {
            return if k == 0.0 {
                0.0
            } else {
                k * LN2_HIGH + (c + k * LN2_LOW)
            };
        }
        let rest = half_square * (1.0 - 0.666_666_666_666_666_6 * f);
        return match k == 0.0 {
            true => f - rest,
            false => k * LN2_HIGH - ((rest - (k * LN2_LOW + c)) - f),
        };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let [p1, p2, p3, p4, p5, p6, p7] = LOG;
    let rest = z * (p1 + z * (p2 + z * (p3 + z * (p4 + z * (p5 + z * (p6 + z * p7))))));
    match k == 0.0 {
        true => f - (half_square - s * (half_square + rest)),
        false => {
            k * LN2_HIGH - ((half_square - (s * (half_square + rest) + (k * LN2_LOW + c))) - f)
        }
    }
}

/// 1 + x = 2^k · (1 + f) with f between √½ - 1 and √2 - 1, and what rounding 1 + x has lost.
struct Split {
    k: f64,
    f: f64,
    c: f64,
    /// f is below 2^-20.
    tiny: bool,
}

fn split(x: f64) -> Split {
    const MANTISSA_OF_SQRT2: u64 = 0x0006_a09e_667f_3bcd;
    let rounds = x.abs() < 2f64.powi(53);
    let u = if rounds { 1.0 + x } else { x };
    let bits = u.to_bits();
    let mut k = (bits >> 52) as i64 - 1023;
    let c = match (rounds, k > 0) {
        (false, _) => 0.0,
        (true, true) => (1.0 - (u - x)) / u,
        (true, false) => (x - (u - 1.0)) / u,
    };
    let mantissa = bits & 0x000f_ffff_ffff_ffff;
    let (u, rest) = if mantissa < MANTISSA_OF_SQRT2 {
        (f64::from_bits(mantissa | 0x3ff0_0000_0000_0000), mantissa)
    } else {
        k += 1;
        let rest = (0x0010_0000_0000_0000 - mantissa) >> 2;
        (f64::from_bits(mantissa | 0x3fe0_0000_0000_0000), rest)
    };
    Split {
        k: k as f64,
        f: u - 1.0,
        c,
        tiny: rest == 0,
    }
}

/// The absolute value, but for -0, which stays.
fn size(x: f64) -> f64 {
    if x < 0.0 { -x } else { x }
}

pub fn sinh(x: f64) -> f64 {
    let size = size(x);
    let y = if size > 21.0 {
        exp(size) * 0.5
    } else if size > 0.5 {
        let e = exp(size);
        (e - 1.0 / e) * 0.5
    } else {
        let square = size * size;
        let p = ((-26.305_632_133_974_97 * square + -2_894.211_355_989_564) * square
            + -89_912.720_220_395_09)
            * square
            + -630_767.364_049_771_7;
        let q = ((square + -173.678_953_558_233_7) * square + 15_215.173_787_900_19) * square
            + -630_767.364_049_771_7;
        p * size / q
    };
    if x < 0.0 { -y } else { y }
}

pub fn cosh(x: f64) -> f64 {
    let size = x.abs();
    if size > 21.0 {
        return exp(size) * 0.5;
    }
    let e = exp(size);
    (e + 1.0 / e) * 0.5
}

pub fn tanh(x: f64) -> f64 {
    const HALF_LARGEST: f64 = 0.5 * 8.802_969_193_111_305e1;
    let size = x.abs();
    if size > HALF_LARGEST {
        return 1f64.copysign(x);
    }
    if size >= 0.625 {
        let y = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
        return if x < 0.0 { -y } else { y };
    }
    if x == 0.0 {
        return x;
    }
    let s = x * x;
    let p =
        (-9.643_991_794_250_523e-1 * s + -9.928_772_310_019_185e1) * s + -1.614_687_684_417_084_5e3;
    let q = ((s + 1.128_116_784_916_329_3e2) * s + 2.235_488_390_601_004_5e3) * s
        + 4.844_063_053_251_255e3;
    x + x * s * p / q
}

const LARGE: f64 = (1u64 << 28) as f64;

pub fn asinh(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let size = size(x);
    let y = if size > LARGE {
        ln(size) + LN_2
    } else if size > 2.0 {
        ln(2.0 * size + 1.0 / ((size * size + 1.0).sqrt() + size))
    } else if size < 1.0 / LARGE {
        size
    } else {
        log1p(size + size * size / (1.0 + (1.0 + size * size).sqrt()))
    };
    if x < 0.0 { -y } else { y }
}

pub fn acosh(x: f64) -> f64 {
    if x < 1.0 || x.is_nan() {
        return f64::NAN;
    }
    if x == 1.0 {
        return 0.0;
    }
    if x >= LARGE {
        return ln(x) + LN_2;
    }
    if x > 2.0 {
        return ln(2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt()));
    }
    let t = x - 1.0;
    log1p(t + (2.0 * t + t * t).sqrt())
}

pub fn atanh(x: f64) -> f64 {
    let size = size(x);
    if size > 1.0 || x.is_nan() {
        return f64::NAN;
    }
    if size == 1.0 {
        return f64::INFINITY.copysign(x);
    }
    let y = if size < 1.0 / LARGE {
        size
    } else if size < 0.5 {
        let twice = size + size;
        0.5 * log1p(twice + twice * size / (1.0 - size))
    } else {
        0.5 * log1p((size + size) / (1.0 - size))
    };
    if x < 0.0 { -y } else { y }
}
