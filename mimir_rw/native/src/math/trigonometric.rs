//! Sine, cosine, tangent and their inverses (Cephes; arguments from 2^29 on by Payne and Hanek's reduction).

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, PI};

/// π/4 in three parts, each product of the first two with an octant's number exact.
const QUARTER_PI: [f64; 3] = [
    7.853_981_256_484_985e-1,
    3.774_894_707_930_798e-8,
    2.695_151_429_079_059_5e-15,
];
const SIN: [f64; 6] = [
    1.589_623_015_765_465_7e-10,
    -2.505_074_776_285_780_7e-8,
    2.755_731_362_138_572_2e-6,
    -1.984_126_982_958_954e-4,
    8.333_333_333_322_119e-3,
    -1.666_666_666_666_663e-1,
];
const COS: [f64; 6] = [
    -1.135_853_652_138_768_2e-11,
    2.087_570_084_197_473e-9,
    -2.755_731_417_929_674e-7,
    2.480_158_728_885_170_5e-5,
    -1.388_888_888_887_305_6e-3,
    4.166_666_666_666_659_5e-2,
];
const TAN_P: [f64; 3] = [
    -1.309_369_391_813_837_9e4,
    1.153_516_648_385_874_2e6,
    -1.795_652_519_764_848_8e7,
];
const TAN_Q: [f64; 4] = [
    1.368_129_634_706_929_5e4,
    -1.320_892_344_402_109_7e6,
    2.500_838_018_233_579e7,
    -5.386_957_559_294_546_4e7,
];
const ATAN_P: [f64; 5] = [
    -8.750_608_600_031_904e-1,
    -1.615_753_718_733_365_2e1,
    -7.500_855_792_314_705e1,
    -1.228_866_684_490_136_1e2,
    -6.485_021_904_942_025e1,
];
const ATAN_Q: [f64; 5] = [
    2.485_846_490_142_306_3e1,
    1.650_270_098_316_988_5e2,
    4.328_810_604_912_902_7e2,
    4.853_903_996_359_137e2,
    1.945_506_571_482_614e2,
];
/// π/2 less its nearest double.
const REST_OF_HALF_PI: f64 = 6.123_233_995_736_766e-17;
const TAN_3PI_8: f64 = 2.414_213_562_373_095;

const REDUCE_FROM: f64 = (1u64 << 29) as f64;
/// Bits of 4/π, the first of them the units.
const FOUR_PER_PI: [u64; 20] = [
    0x0000_0000_0000_0001,
    0x45f3_06dc_9c88_2a53,
    0xf84e_afa3_ea69_bb81,
    0xb6c5_2b32_7887_2083,
    0xfca2_c757_bd77_8ac3,
    0x6e48_dc74_849b_a5c0,
    0x0c92_5dd4_13a3_2439,
    0xfc3b_d639_6253_4e7d,
    0xd104_6bea_5d76_8909,
    0xd338_e04d_68be_fc82,
    0x7323_ac73_06a6_73e9,
    0x3908_bf17_7bf2_5076,
    0x3ff1_2fff_bc0b_301f,
    0xde5e_2316_b414_da3e,
    0xda6c_fd9e_4f96_136e,
    0x9e8c_7ecd_3cbf_d45a,
    0xea4f_758f_d7cb_e2f6,
    0x7a0e_73ef_14a5_25d4,
    0xd7f6_bf62_3f1a_ba10,
    0xac06_608d_f8f6_d757,
];

fn polynomial<const N: usize>(coefficients: &[f64; N], x: f64) -> f64 {
    let rest = coefficients[1..].iter();
    rest.fold(coefficients[0], |sum, &c| sum * x + c)
}

/// Octant (even) and what is left of a positive argument, within π/4 of 0.
fn reduce(x: f64) -> (u64, f64) {
    if x >= REDUCE_FROM {
        return reduce_large(x);
    }
    let mut octant = (x * (2.0 * FRAC_2_PI)) as u64;
    octant += octant & 1;
    let y = octant as f64;
    let z = ((x - y * QUARTER_PI[0]) - y * QUARTER_PI[1]) - y * QUARTER_PI[2];
    (octant & 7, z)
}

/// The product of the mantissa with the bits of 4/π that matter; its top three bits are the octant.
fn reduce_large(x: f64) -> (u64, f64) {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i64 - 1023 - 52;
    let mantissa = u128::from(bits & MANTISSA | 1 << 52);
    let (digit, shift) = (((exponent + 61) / 64) as usize, (exponent + 61) % 64);
    let word = |i: usize| match shift {
        0 => FOUR_PER_PI[i],
        _ => FOUR_PER_PI[i] << shift | FOUR_PER_PI[i + 1] >> (64 - shift),
    };
    let (first, second, third) = (word(digit), word(digit + 1), word(digit + 2));
    let low = u128::from(second) * mantissa;
    let top = u128::from(first.wrapping_mul(mantissa as u64)) << 64;
    let product = top
        .wrapping_add(low)
        .wrapping_add((u128::from(third) * mantissa) >> 64);
    let mut octant = (product >> 125) as u64;
    let (high, low) = ((product << 3 >> 64) as u64, product as u64);
    let zeros = high.leading_zeros() + 1;
    let shifted = match zeros {
        65 => 0,
        64 => low,
        _ => high << zeros | low >> (64 - zeros),
    };
    let mut z = f64::from_bits((1023 - u64::from(zeros)) << 52 | shifted >> 12);
    if octant & 1 == 1 {
        octant = (octant + 1) & 7;
        z -= 1.0;
    }
    (octant, z * FRAC_PI_4)
}

fn sine_near_zero(z: f64, zz: f64) -> f64 {
    z + z * zz * polynomial(&SIN, zz)
}

fn cosine_near_zero(zz: f64) -> f64 {
    1.0 - 0.5 * zz + zz * zz * polynomial(&COS, zz)
}

pub fn sin(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (octant, z) = reduce(x.abs());
    let zz = z * z;
    let y = match octant & 3 {
        1 | 2 => cosine_near_zero(zz),
        _ => sine_near_zero(z, zz),
    };
    if (x < 0.0) != (octant > 3) { -y } else { y }
}

pub fn cos(x: f64) -> f64 {
    if !x.is_finite() {
        return f64::NAN;
    }
    let (octant, z) = reduce(x.abs());
    let (zz, quarter) = (z * z, octant & 3);
    let y = match quarter {
        1 | 2 => sine_near_zero(z, zz),
        _ => cosine_near_zero(zz),
    };
    if (octant > 3) != (quarter > 1) { -y } else { y }
}

pub fn tan(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::NAN;
    }
    let (octant, z) = reduce(x.abs());
    let zz = z * z;
    let mut y = z;
    if zz > 1e-14 {
        let q = (((zz + TAN_Q[0]) * zz + TAN_Q[1]) * zz + TAN_Q[2]) * zz + TAN_Q[3];
        y = z + z * (zz * polynomial(&TAN_P, zz) / q);
    }
    if octant & 2 == 2 {
        y = -1.0 / y;
    }
    if x < 0.0 { -y } else { y }
}

/// Within 0..=0.66.
fn atan_small(x: f64) -> f64 {
    let z = x * x;
    let q = ((((z + ATAN_Q[0]) * z + ATAN_Q[1]) * z + ATAN_Q[2]) * z + ATAN_Q[3]) * z + ATAN_Q[4];
    let z = z * polynomial(&ATAN_P, z) / q;
    x * z + x
}

fn atan_positive(x: f64) -> f64 {
    if x <= 0.66 {
        return atan_small(x);
    }
    if x > TAN_3PI_8 {
        return FRAC_PI_2 - atan_small(1.0 / x) + REST_OF_HALF_PI;
    }
    FRAC_PI_4 + atan_small((x - 1.0) / (x + 1.0)) + 0.5 * REST_OF_HALF_PI
}

pub fn atan(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    if x > 0.0 {
        atan_positive(x)
    } else {
        -atan_positive(-x)
    }
}

pub fn asin(x: f64) -> f64 {
    if x == 0.0 {
        return x;
    }
    let positive = x.abs();
    if positive > 1.0 {
        return f64::NAN;
    }
    let side = (1.0 - positive * positive).sqrt();
    let y = if positive > 0.7 {
        FRAC_PI_2 - atan_positive(side / positive)
    } else {
        atan_positive(positive / side)
    };
    if x < 0.0 { -y } else { y }
}

pub fn acos(x: f64) -> f64 {
    FRAC_PI_2 - asin(x)
}

pub fn atan2(y: f64, x: f64) -> f64 {
    if y.is_nan() || x.is_nan() {
        return f64::NAN;
    }
    if y == 0.0 {
        let size = if x >= 0.0 && x.is_sign_positive() {
            0.0
        } else {
            PI
        };
        return size.copysign(y);
    }
    if x == 0.0 {
        return FRAC_PI_2.copysign(y);
    }
    if x.is_infinite() {
        let size = match (x > 0.0, y.is_infinite()) {
            (true, true) => FRAC_PI_4,
            (true, false) => 0.0,
            (false, true) => 3.0 * FRAC_PI_4,
            (false, false) => PI,
        };
        return size.copysign(y);
    }
    if y.is_infinite() {
        return FRAC_PI_2.copysign(y);
    }
    let q = atan(y / x);
    match (x < 0.0, q <= 0.0) {
        (false, _) => q,
        (true, true) => q + PI,
        (true, false) => q - PI,
    }
}
