//! Times as text.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2013-02-08T17:04:00.123Z`: RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    // A clock before 1970 is wrong anyway; it reads as the epoch.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let mut text = String::with_capacity(24);
    push(&mut text, year, 4, '-');
    push(&mut text, month, 2, '-');
    push(&mut text, day, 2, 'T');
    push(&mut text, second / 3_600, 2, ':');
    push(&mut text, second / 60 % 60, 2, ':');
    push(&mut text, second % 60, 2, '.');
    push(&mut text, since.subsec_millis().into(), 3, 'Z');
    text
}

/// A number of at least so many digits, and what follows it. Every event has a time: the general way of writing numbers takes longer
/// than all the rest of its metadata.
fn push(text: &mut String, number: u64, digits: u32, after: char) {
    let mut place = 10_u64.pow(digits - 1);
    while number / place > 9 {
        place *= 10;
    }
    while place > 0 {
        text.push(char::from(b'0' + (number / place % 10) as u8));
        place /= 10;
    }
    text.push(after);
}

/// Year, month and day of the proleptic Gregorian calendar. Years run from March, so that the leap day is a year's last; an era
/// is the 400 years (146,097 days) after which the calendar repeats.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let check = |ms: u64, expected: &str| {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(ms)), expected);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_360_343_040_123, "2013-02-08T17:04:00.123Z");
        check(4_107_542_399_999, "2100-02-28T23:59:59.999Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        check(253_402_300_800_001, "10000-01-01T00:00:00.001Z");
    }
}
