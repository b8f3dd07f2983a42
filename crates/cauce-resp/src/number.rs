//! Numbers as Redis writes and reads them.

/// Parses a decimal integer as strictly as Redis does (`string2ll`): an optional `-`, then digits without
/// leading zeros; no `+`, no spaces, no `-0`. `None` where the text is not such a number or does not fit.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits == b"0" {
        return (!negative).then_some(0);
    }
    if digits.is_empty() || digits.len() > 19 || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // 19 digits fit in u64 without overflow (10^19 - 1 < 2^64).
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Formats a double as Redis 7.2 replies with it: integers below 2^52 as integers, everything else with the
/// fewest digits that read back as the same number, laid out as the `fpconv` library does; `inf`, `-inf`, `nan`.
#[must_use]
pub fn format_double(value: f64) -> String {
    const EXACT_INTEGERS: f64 = (1_u64 << 52) as f64;
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value.abs() < EXACT_INTEGERS && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        return itoa::Buffer::new().format(value as i64).to_owned();
    }
    // Rust writes the shortest digits too: `d.ddde±x`.
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if value.is_sign_negative() { "-" } else { "" };
    format!("{sign}{}", lay_out(&digits, exponent))
}

/// Writes `d.ddd * 10^exponent` plainly where that is not much longer.
fn lay_out(digits: &str, exponent: i32) -> String {
    /// Zeros that are written in front of the digits or behind them rather than an exponent.
    const ZEROS_MAX: usize = 7;
    const LEADING_MAX: i32 = 7;
    let count = digits.len();
    let size = exponent.unsigned_abs() as usize;
    // What the digits as a whole number are to be multiplied with.
    let scale = exponent - (count as i32 - 1);
    if scale >= 0 && size < count + ZEROS_MAX {
        return format!("{digits}{}", "0".repeat(scale.unsigned_abs() as usize));
    }
    if scale < 0 && (scale > -LEADING_MAX || size < 4) {
        return if exponent < 0 {
            format!("0.{}{digits}", "0".repeat(size - 1))
        } else {
            let (whole, fraction) = digits.split_at(size + 1);
            format!("{whole}.{fraction}")
        };
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}e{exponent:+}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_strictly_as_redis_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("+1", None),
            ("01", None),
            ("-0", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        for (value, expected) in [
            (0.0, "0"),
            (3.0, "3"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (4_503_599_627_370_495.0, "4503599627370495"),
            (4_503_599_627_370_496.0, "4503599627370496"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e17, "1e+17"),
            (1e20, "1e+20"),
            (1.5e20, "1.5e+20"),
            (1.234_567_890_123_4e18, "1234567890123400000"),
            (-1.234_567_890_123_4e25, "-1.2345678901234e+25"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (0.00001, "0.00001"),
            (0.000_001, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (0.001_234_567_89, "0.00123456789"),
            (0.000_123_456_789, "1.23456789e-4"),
            (0.000_012_345_678_9, "1.23456789e-5"),
            (123_456.789, "123456.789"),
            (12_345_678.901_234_567, "1.2345678901234567e+7"),
            (1_234.567_890_123_45, "1234.56789012345"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0 / 3.0, "0.3333333333333333"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_double(value), expected);
        }
    }
}
