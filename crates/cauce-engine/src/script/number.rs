//! Numbers as C's `printf("%.{precision}g")` writes them.

/// Writes `value` with at most `precision` significant digits, as `%g` does.
pub(crate) fn write_g(value: f64, precision: usize, out: &mut Vec<u8>) {
    assert!(precision > 0, "%g has at least one digit");
    if value.is_nan() {
        out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
        return;
    }
    // One digit before the point, `precision - 1` after it: correctly rounded.
    let text = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = text.split_once('e').expect("the exponent form has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a small integer");
    if exponent < -4 || exponent >= i32::try_from(precision).unwrap_or(i32::MAX) {
        out.extend_from_slice(without_trailing_zeros(mantissa).as_bytes());
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    } else {
        let decimals =
            usize::try_from(i64::try_from(precision).unwrap_or(i64::MAX) - 1 - i64::from(exponent))
                .unwrap_or_default();
        let text = format!("{value:.decimals$}");
        out.extend_from_slice(without_trailing_zeros(&text).as_bytes());
    }
}

/// A number as an argument of a command: integers as integers, others by 17 significant digits.
pub(crate) fn write_argument(value: f64, out: &mut Vec<u8>) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.abs() < EXACT && value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative()) {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        write_g(value, 17, out);
    }
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn g(value: f64, precision: usize) -> String {
        let mut out = Vec::new();
        write_g(value, precision, &mut out);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn numbers_are_written_as_printf_writes_them() {
        for (value, precision, expected) in [
            (0.0, 17, "0"),
            (-0.0, 17, "-0"),
            (0.1, 17, "0.10000000000000001"),
            (3.5, 14, "3.5"),
            (1e16, 17, "10000000000000000"),
            (1e17, 17, "1e+17"),
            (1_795_415_132_461_000.0, 17, "1795415132461000"),
            (1e-5, 14, "1e-05"),
            (0.0001, 14, "0.0001"),
            (1e100, 17, "1e+100"),
            (123_456_789_012_345.68, 14, "1.2345678901235e+14"),
            (99.999_999_999_999_99, 14, "100"),
            (f64::NAN, 14, "nan"),
            (f64::NEG_INFINITY, 17, "-inf"),
        ] {
            assert_eq!(g(value, precision), expected);
        }
    }

    #[test]
    fn whole_numbers_are_written_without_an_exponent() {
        let mut out = Vec::new();
        write_argument(1e15, &mut out);
        assert_eq!(out, b"1000000000000000");
    }
}
