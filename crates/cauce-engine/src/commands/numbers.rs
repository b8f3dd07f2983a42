//! Doubles in arguments, and sums as wide as those of Redis.

use std::collections::HashSet;

use super::integer;
use crate::collections::{Named, Table};
use crate::errors::{self, Error, collections as texts};
use crate::random::Random;

/// An argument as a double; infinities are doubles, what is too large or too small for one is not.
pub(super) fn double(arg: &[u8]) -> Option<f64> {
    let value = lenient_double(arg)?;
    let named = arg.iter().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    let vanished = value == 0.0 && has_digits_above_0(arg);
    (!vanished && (value.is_finite() || named)).then_some(value)
}

/// The same, where what is too large becomes infinite and what is too small 0, as C's `strtod` reads it.
pub(super) fn lenient_double(arg: &[u8]) -> Option<f64> {
    let (negative, digits) = match arg {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, arg),
    };
    if let [b'0', b'x' | b'X', digits @ ..] = digits {
        let value = hexadecimal(digits)?;
        return Some(if negative { -value } else { value });
    }
    let value: f64 = std::str::from_utf8(arg).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

fn has_digits_above_0(text: &[u8]) -> bool {
    let hexadecimal = text.iter().any(|byte| matches!(byte, b'x' | b'X'));
    let end: &[u8] = if hexadecimal { b"pP" } else { b"eE" };
    let mantissa = text.split(|byte| end.contains(byte)).next().unwrap_or_default();
    mantissa.iter().any(|byte| byte.is_ascii_hexdigit() && *byte != b'0')
}

/// `digits[.digits][p[sign]digits]` in base 16 with an exponent of 2. Digits beyond 64 bits are cut off.
fn hexadecimal(text: &[u8]) -> Option<f64> {
    let exponent_at = text.iter().position(|byte| matches!(byte, b'p' | b'P'));
    let (mantissa, exponent) = match exponent_at {
        Some(at) => (text.get(..at)?, std::str::from_utf8(text.get(at + 1..)?).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (mut value, mut shift, mut digits, mut behind_point) = (0_u64, exponent, 0, false);
    for &byte in mantissa {
        if byte == b'.' && !behind_point {
            behind_point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        digits += 1;
        if value >> 60 == 0 {
            value = value << 4 | u64::from(digit);
            shift = shift.saturating_sub(if behind_point { 4 } else { 0 });
        } else {
            shift = shift.saturating_add(if behind_point { 0 } else { 4 });
        }
    }
    // In two steps, so that a power of two that is out of range alone does not spoil a product that is not.
    let half = shift / 2;
    (digits > 0).then(|| value as f64 * 2_f64.powi(half) * 2_f64.powi(shift - half))
}

/// An argument as a count that may be 0.
pub(super) fn positive(arg: &[u8]) -> Result<usize, Error> {
    let count = cauce_resp::parse_i64(arg).and_then(|count| usize::try_from(count).ok());
    count.ok_or(texts::NOT_POSITIVE)
}

/// Elements that one command repeats at most. Redis has no such limit.
const REPEATED_MAX: i64 = 1 << 24;

/// How many random elements are wanted: a negative number allows the same one more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Distinct(usize),
    Repeated(usize),
}

impl Wanted {
    /// The count; with values or scores twice as much must be countable.
    pub(super) fn parse(arg: &[u8], doubled: bool) -> Result<Self, Error> {
        let count = integer(arg)?;
        if count == i64::MIN {
            return Err(texts::NO_OPPOSITE);
        }
        let max = if doubled { i64::MAX / 2 } else { i64::MAX };
        if count < -REPEATED_MAX || count > max {
            return Err(texts::OUT_OF_RANGE);
        }
        let size = usize::try_from(count.unsigned_abs()).map_err(|_| errors::NOT_INTEGER)?;
        Ok(if count < 0 { Self::Repeated(size) } else { Self::Distinct(size) })
    }

    /// The places of as many random elements of a table that is not empty.
    pub(super) fn choose<E: Named>(self, table: &Table<E>, random: &mut Random) -> Vec<u32> {
        let mut any = || table.random(random).expect("a collection is never empty");
        match self {
            Self::Repeated(count) => (0..count).map(|_| any()).collect(),
            Self::Distinct(count) if count >= table.len() => table.scan(0).map(|(at, _)| at).collect(),
            // Few of many: chosen again if they were chosen before.
            Self::Distinct(count) if count <= table.len() / 4 => {
                let (mut chosen, mut seen) = (Vec::with_capacity(count), HashSet::with_capacity(count));
                while chosen.len() < count {
                    let at = any();
                    if seen.insert(at) {
                        chosen.push(at);
                    }
                }
                chosen
            }
            Self::Distinct(count) => {
                let mut all: Vec<u32> = table.scan(0).map(|(at, _)| at).collect();
                for last in (count..all.len()).rev() {
                    all.swap_remove(random.below(last + 1));
                }
                all
            }
        }
    }
}

/// A number with 67 bits before the point and 60 behind, rounded to the 64 significant bits of the `long
/// double` that Redis calculates with, so that `INCRBYFLOAT` gives the same digits.
#[derive(Debug, Clone, Copy)]
struct Wide(i128);

const FRACTION_BITS: u32 = 60;
/// Digits behind the point that Redis writes.
const SHOWN_DIGITS: u32 = 17;

impl Wide {
    /// Reads a decimal number; `None` where it has another form or is too large.
    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let unscaled = scaled(text)?;
        let text = unscaled.as_deref().unwrap_or(text);
        let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
        let (whole, fraction) = (text.get(..point)?, text.get(point + 1..).unwrap_or_default());
        // More digits than these do not fit, or do not change what is shown.
        let fraction = fraction.get(..19).unwrap_or(fraction);
        let digits = |text: &[u8]| {
            text.iter().try_fold(0_u128, |value, byte| {
                let digit = byte.is_ascii_digit().then(|| u128::from(byte - b'0'))?;
                value.checked_mul(10)?.checked_add(digit)
            })
        };
        let (whole, fraction_value) = (digits(whole)?, digits(fraction)?);
        let unit = 10_u128.pow(fraction.len() as u32);
        if whole >> (i128::BITS - 1 - FRACTION_BITS) > 0 {
            return None;
        }
        let fraction = (fraction_value << FRACTION_BITS).checked_add(unit / 2)? / unit;
        let value = i128::try_from((whole << FRACTION_BITS).checked_add(fraction)?).ok()?;
        Some(Self(if negative { -value } else { value }).rounded())
    }

    /// Keeps 64 significant bits.
    fn rounded(self) -> Self {
        let magnitude = self.0.unsigned_abs();
        let extra = (128 - magnitude.leading_zeros()).saturating_sub(64);
        if extra == 0 {
            return self;
        }
        let half = 1_u128 << (extra - 1);
        let (kept, rest) = (magnitude >> extra, magnitude & ((1 << extra) - 1));
        let up = rest > half || (rest == half && kept & 1 == 1);
        let rounded = ((kept + u128::from(up)) << extra).cast_signed();
        Self(if self.0 < 0 { -rounded } else { rounded })
    }

    fn text(self) -> String {
        let magnitude = self.0.unsigned_abs();
        let unit = 10_u128.pow(SHOWN_DIGITS);
        let scaled = (magnitude & ((1 << FRACTION_BITS) - 1)) * unit;
        let fraction = (scaled + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        let (whole, fraction) = ((magnitude >> FRACTION_BITS) + fraction / unit, fraction % unit);
        let text = format!("{whole}.{fraction:017}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if self.0 < 0 && text != "0" { format!("-{text}") } else { text.to_owned() }
    }
}

/// Digits that the exponent of a number may add to it.
const EXPONENT_MAX: i32 = 40;

/// A decimal number with an exponent as one without; nothing where there is none.
#[expect(clippy::option_option, reason = "no number, no exponent, and a number are three things")]
fn scaled(text: &[u8]) -> Option<Option<Vec<u8>>> {
    let Some(at) = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) else { return Some(None) };
    let exponent: i32 = std::str::from_utf8(text.get(at + 1..)?).ok()?.parse().ok()?;
    let mantissa = text.get(..at)?;
    let point = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    let mut digits: Vec<u8> = mantissa.iter().copied().filter(|byte| *byte != b'.').collect();
    if exponent.abs() > EXPONENT_MAX || mantissa.len() > digits.len() + 1 {
        return None;
    }
    let point = i32::try_from(point).ok()? + exponent;
    let missing = usize::try_from(-point).unwrap_or(0);
    digits.splice(0..0, std::iter::repeat_n(b'0', missing));
    let point = usize::try_from(point).unwrap_or(0);
    let zeros = point.saturating_sub(digits.len());
    digits.extend(std::iter::repeat_n(b'0', zeros));
    digits.insert(point, b'.');
    Some(Some(digits))
}

/// The sum of two numbers, as text; `None` if it is not finite. Both must be readable as doubles.
pub(super) fn sum(before: &[u8], increment: &[u8]) -> Option<String> {
    if let (Some(a), Some(b)) = (Wide::parse(before), Wide::parse(increment))
        && let Some(sum) = a.0.checked_add(b.0)
    {
        return Some(Wide(sum).rounded().text());
    }
    // Exponents and magnitudes beyond 64 bits: as exact as a double.
    let sum = double(before)? + double(increment)?;
    let text = format!("{sum:.17}");
    sum.is_finite().then(|| text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_read_as_redis_reads_them() {
        for (text, expected) in [
            ("1.5", Some(1.5)),
            ("1e3", Some(1000.0)),
            (".5", Some(0.5)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("+Infinity", Some(f64::INFINITY)),
            ("nan", None),
            ("1e400", None),
            ("", None),
            (" 1", None),
            ("1x", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("0x10", Some(16.0)),
            ("-0x1.8P-1", Some(-0.75)),
            ("0x.8", Some(0.5)),
            ("0x1p1023", Some(2_f64.powi(1023))),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p1024", None),
            ("0x1p-9999", None),
            ("0x", None),
            ("0x1p", None),
            ("0x1.2.3", None),
            ("0xg", None),
        ] {
            assert_eq!(double(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn sums_have_the_digits_of_redis() {
        for (before, increment, expected) in [
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-5", "-2"),
            ("0.1", "-0.1", "0"),
            ("-0.25", "-0.5", "-0.75"),
            ("1.999999999999999999", "0", "2"),
            ("2.5", "1e-7", "2.5000001"),
            ("-12.5e-1", "1.5E+2", "148.75"),
            ("0", ".5e1", "5"),
            ("-9223372036854775808", "-2.25", "-9223372036854775810"),
            ("-9223372036854775808", "0.5", "-9223372036854775807.5"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("-19223372036854775808", "3.0e2", "-19223372036854775508"),
        ] {
            assert_eq!(sum(before.as_bytes(), increment.as_bytes()).as_deref(), Some(expected));
        }
        assert_eq!(sum(b"1e308", b"1e308"), None);
    }
}
