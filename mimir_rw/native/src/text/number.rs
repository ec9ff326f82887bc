//! Numbers as Go prints them: shortest decimal that reads back equal.

/// Above this not every integer is a float.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

pub fn push_u64(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while n >= 100 {
        at -= 2;
        let pair = (n % 100) as usize * 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        n /= 100;
    }
    if n >= 10 {
        at -= 2;
        let pair = n as usize * 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        digits[at] = b'0' + n as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Seconds, and three digits of milliseconds only where these are not zero.
pub fn push_timestamp(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let ms = ms.unsigned_abs();
    push_u64(out, ms / 1000);
    let fraction = (ms % 1000) as usize;
    if fraction != 0 {
        out.extend_from_slice(&[b'.', b'0' + (fraction / 100) as u8]);
        let pair = fraction % 100 * 2;
        out.extend_from_slice(&PAIRS[pair..pair + 2]);
    }
}

/// A sample value: exponent form only below 1e-6 and from 1e21 on, with at least two exponent digits.
pub fn push_value(out: &mut Vec<u8>, value: f64) {
    if !push_plain(out, value) {
        let abs = value.abs();
        push_laid_out(out, value, abs != 0.0 && !(1e-6..1e21).contains(&abs));
    }
}

/// A number never in exponent form, as scalars are.
pub fn push_positional(out: &mut Vec<u8>, value: f64) {
    if !push_plain(out, value) {
        push_laid_out(out, value, false);
    }
}

/// In exponent form below 1e-4 and from 1e6 on: `1e+06`, `1.234567e+06`, `0.5`.
pub fn push_general(out: &mut Vec<u8>, value: f64) {
    let abs = value.abs();
    if abs == 0.0 || !abs.is_finite() || (1e-4..1e6).contains(&abs) {
        push_positional(out, value);
    } else {
        push_laid_out(out, value, true);
    }
}

/// The common cases: whole numbers, usual magnitudes, and what is no number. False (and nothing pushed) otherwise.
fn push_plain(out: &mut Vec<u8>, value: f64) -> bool {
    let abs = value.abs();
    if abs < EXACT_INTEGER_MAX && abs as u64 as f64 == abs {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        push_u64(out, abs as u64);
    } else if let Some(thousandths) = thousandths(abs) {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        push_thousandths(out, thousandths);
    } else if (1e-5..1e15).contains(&abs) {
        // In this range, and not whole, zmij writes neither an exponent nor a useless zero.
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        return false;
    }
    true
}

/// A number of at most three decimals, times 1000. As the float nearest to it is `abs`, and decimals of so few digits are
/// further apart than floats, no shorter decimal reads back as `abs` but itself without trailing zeros.
fn thousandths(abs: f64) -> Option<u64> {
    const MAX: f64 = 1e9;
    if abs >= MAX {
        return None;
    }
    let whole = (abs * 1000.0 + 0.5) as u64;
    (whole as f64 / 1000.0 == abs).then_some(whole)
}

/// Of a number that is not whole.
fn push_thousandths(out: &mut Vec<u8>, thousandths: u64) {
    push_u64(out, thousandths / 1000);
    let fraction = (thousandths % 1000) as usize;
    let pair = fraction % 100 * 2;
    let digits = [
        b'.',
        b'0' + (fraction / 100) as u8,
        PAIRS[pair],
        PAIRS[pair + 1],
    ];
    let zeros = digits.iter().rev().take_while(|&&d| d == b'0').count();
    out.extend_from_slice(&digits[..digits.len() - zeros]);
}

/// Lay the shortest digits out anew. `value` is finite and not zero.
fn push_laid_out(out: &mut Vec<u8>, value: f64, with_exponent: bool) {
    if value < 0.0 {
        out.push(b'-');
    }
    let (digits, point) = shortest(value.abs());
    if with_exponent {
        push_scientific(out, &digits, point - 1);
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + point.unsigned_abs() as usize, b'0');
        out.extend_from_slice(&digits);
    } else if point as usize >= digits.len() {
        let end = out.len() + point as usize;
        out.extend_from_slice(&digits);
        out.resize(end, b'0');
    } else {
        let (whole, fraction) = digits.split_at(point as usize);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

fn push_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    push_u64(out, u64::from(exponent.unsigned_abs()));
}

/// Digits without zeros at either end, and how many of them stand before the decimal point (negative: zeros after it).
fn shortest(value: f64) -> (Vec<u8>, i32) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().expect("zmij writes a number after the e");
    let all = [whole.as_bytes(), fraction.as_bytes()].concat();
    let zeros = all.iter().take_while(|&&digit| digit == b'0').count();
    let end = all
        .iter()
        .rposition(|&digit| digit != b'0')
        .map_or(zeros, |last| last + 1);
    (
        all[zeros..end].to_vec(),
        whole.len() as i32 - zeros as i32 + exponent,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn short_decimals_and_their_neighbours_are_shortest() {
        for whole in (1..3_000_000_u64).step_by(37).chain([999_999_999_999]) {
            let value = whole as f64 / 1000.0;
            for value in [value, -value, value.next_up(), value.next_down()] {
                assert_eq!(text(|out| push_value(out, value)), value.to_string());
            }
        }
    }

    #[test]
    fn values() {
        let cases: &[(f64, &str, &str)] = &[
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-17.0, "-17", "-17"),
            (0.1, "0.1", "0.1"),
            (1.5e-5, "0.000015", "0.000015"),
            (1e-5, "0.00001", "0.00001"),
            (9.5e-6, "0.0000095", "0.0000095"),
            (1e-6, "0.000001", "0.000001"),
            (1e-7, "1e-07", "0.0000001"),
            (-1.25e-7, "-1.25e-07", "-0.000000125"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1.5e20, "150000000000000000000", "150000000000000000000"),
            (1e21, "1e+21", "1000000000000000000000"),
            (
                1.2345e100,
                "1.2345e+100",
                &format!("12345{}", "0".repeat(96)),
            ),
            (5e-324, "5e-324", &format!("0.{}5", "0".repeat(323))),
            (
                1_000_000_000_000_000.5,
                "1000000000000000.5",
                "1000000000000000.5",
            ),
            (
                9_007_199_254_740_992.0,
                "9007199254740992",
                "9007199254740992",
            ),
            (
                1_152_921_504_606_846_976.0,
                "1152921504606847000",
                "1152921504606847000",
            ),
            (123_456_789.123, "123456789.123", "123456789.123"),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ];
        for (value, expected, positional) in cases {
            assert_eq!(text(|out| push_value(out, *value)), *expected);
            assert_eq!(text(|out| push_positional(out, *value)), *positional);
        }
    }

    #[test]
    fn values_read_back_equal() {
        let mut bits = 1u64;
        for _ in 0..100_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = f64::from_bits(bits ^ (bits >> 29));
            if value.is_finite() {
                let read: f64 = text(|out| push_value(out, value))
                    .parse()
                    .expect("a number");
                assert_eq!(read.to_bits(), value.to_bits());
            }
        }
    }

    #[test]
    fn timestamps() {
        let cases = [
            (0, "0"),
            (1_600_000_000_000, "1600000000"),
            (1_600_000_000_500, "1600000000.500"),
            (1_001, "1.001"),
            (-10, "-0.010"),
            (-1_000, "-1"),
            (i64::MIN, "-9223372036854775.808"),
        ];
        for (ms, expected) in cases {
            assert_eq!(text(|out| push_timestamp(out, ms)), expected);
        }
    }

    #[test]
    fn whole_numbers() {
        for n in [0, 9, 10, 99, 100, 12_345, 1_000_000, u64::MAX] {
            assert_eq!(text(|out| push_u64(out, n)), n.to_string());
        }
    }
}
