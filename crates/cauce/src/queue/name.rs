//! Names, ids and numbers as RSMQ checks them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::error::QueueError;

/// The longest vt and delay, in seconds.
pub(super) const SECONDS_MAX: u64 = 9_999_999;
const NAME_LENGTH_MAX: usize = 160;
const MAXSIZE: std::ops::RangeInclusive<u32> = 1024..=65_536;

/// # Errors
/// If RSMQ would refuse the name, or it is the registry's own.
pub(super) fn check_queue_name(name: &str) -> Result<(), QueueError> {
    if name.is_empty() {
        return Err(QueueError::MissingParameter { item: "qname" });
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.len() > NAME_LENGTH_MAX || !name.bytes().all(allowed) {
        return Err(QueueError::InvalidFormat {
            item: "qname",
            wanted: "1 to 160 of the characters a-z, A-Z, 0-9, _ and -",
        });
    }
    if name == "QUEUES" {
        return Err(QueueError::ReservedName);
    }
    Ok(())
}

/// A time of a call, which may be finer than a second.
///
/// # Errors
/// If it is longer than RSMQ allows.
pub(super) fn check_time(item: &'static str, time: Duration) -> Result<u64, QueueError> {
    if time > Duration::from_secs(SECONDS_MAX) {
        return Err(QueueError::InvalidValue { item, min: 0, max: SECONDS_MAX, unit: " seconds" });
    }
    Ok(time.as_millis() as u64)
}

/// A time that stands in the queue's hash.
///
/// # Errors
/// If it is longer than RSMQ allows, or not a whole number of seconds where the hash holds seconds.
pub(super) fn check_attribute(
    item: &'static str,
    time: Duration,
    units: Units,
) -> Result<String, QueueError> {
    let ms = check_time(item, time)?;
    match units {
        Units::Milliseconds => Ok(ms.to_string()),
        _ if time.subsec_nanos() == 0 => Ok(time.as_secs().to_string()),
        _ => Err(QueueError::InvalidFormat { item, wanted: "a queue's times are whole seconds" }),
    }
}

/// # Errors
/// If RSMQ would refuse it.
pub(super) fn check_maxsize(maxsize: Option<u32>) -> Result<String, QueueError> {
    match maxsize {
        None => Ok("-1".to_owned()),
        Some(size) if MAXSIZE.contains(&size) => Ok(size.to_string()),
        Some(_) => Err(QueueError::InvalidValue {
            item: "maxsize",
            min: u64::from(*MAXSIZE.start()),
            max: u64::from(*MAXSIZE.end()),
            unit: " (or none)",
        }),
    }
}

/// In what the hashes of queues hold vt and delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Units {
    /// Seconds, as RSMQ has them; a queue that looks like milliseconds is refused with [`QueueError::ForeignUnits`].
    ///
    /// It looks so if vt or delay is above 9,999,999; or if either is at least 1000 and a total is written as zero (RSMQ never
    /// writes one); or if vt is a multiple of 1000 (0 included), delay too, and one of them at least 1000. Times that this library
    /// has written are marked in the hash and never doubted.
    #[default]
    Checked,
    /// Seconds, whatever they look like.
    Seconds,
    /// Milliseconds, as the crate `rsmq_async` writes them.
    Milliseconds,
}

impl Units {
    /// What the scripts call them.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
        }
    }

    /// What marks a hash whose times this library wrote. Nothing marks milliseconds: readers of seconds must doubt them.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Checked | Self::Seconds => "s",
            Self::Milliseconds => "",
        }
    }

    /// What the number in a hash means.
    pub(super) fn duration(self, number: u64) -> Duration {
        match self {
            Self::Checked | Self::Seconds => Duration::from_secs(number),
            Self::Milliseconds => Duration::from_millis(number),
        }
    }
}

/// The id of a message: ten digits in base 36 for the microsecond in which it was sent, by the server's clock, and 22 random
/// characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; Self::LENGTH]);

impl MessageId {
    const LENGTH: usize = 32;
    const TIME_LENGTH: usize = 10;
    /// The random part.
    pub(super) const SUFFIX_LENGTH: usize = Self::LENGTH - Self::TIME_LENGTH;

    /// When it was sent. Ids that another program made up may say anything.
    #[must_use]
    pub fn sent(self) -> SystemTime {
        let (time, _) = self.0.split_at(Self::TIME_LENGTH);
        // Ten base-36 digits are below 2^52.
        let us = std::str::from_utf8(time).ok().and_then(|text| u64::from_str_radix(text, 36).ok());
        SystemTime::UNIX_EPOCH + Duration::from_micros(us.unwrap_or(0))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let id: [u8; Self::LENGTH] = bytes.try_into().ok()?;
        id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b':').then_some(Self(id))
    }

    pub(super) fn from_parts(time: &[u8], random: &[u8; Self::SUFFIX_LENGTH]) -> Option<Self> {
        let mut id = [0; Self::LENGTH];
        let (begin, end) = id.split_at_mut(Self::TIME_LENGTH);
        begin.copy_from_slice(<&[u8; Self::TIME_LENGTH]>::try_from(time).ok()?);
        end.copy_from_slice(random);
        Self::from_bytes(&id)
    }

    pub(super) fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for MessageId {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        if text.is_empty() {
            return Err(QueueError::MissingParameter { item: "id" });
        }
        Self::from_bytes(text.as_bytes()).ok_or(QueueError::InvalidFormat {
            item: "id",
            wanted: "32 of the characters a-z, A-Z, 0-9 and :",
        })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_in_rsmq() {
        let check = |name: &str, expected: Option<(&str, &str)>| {
            let found = check_queue_name(name).err().map(|error| (error.code(), error.to_string()));
            assert_eq!(found, expected.map(|(code, text)| (code, text.to_owned())), "{name}");
        };
        check("notify-event_1", None);
        check(&"q".repeat(160), None);
        let format =
            ("invalidFormat", "invalid qname format: 1 to 160 of the characters a-z, A-Z, 0-9, _ and -");
        for wrong in ["two words", "ä", "a:b", "a\n", &"q".repeat(161)] {
            check(wrong, Some(format));
        }
        check("", Some(("missingParameter", "no qname supplied")));
        check(
            "QUEUES",
            Some(("reservedName", "the name `QUEUES` is reserved: RSMQ keeps the list of queues under it")),
        );
    }

    #[test]
    fn numbers_are_checked_as_in_rsmq() {
        let text = |result: Result<String, QueueError>| {
            result.unwrap_or_else(|error| format!("{}: {error}", error.code()))
        };
        let seconds = |s| text(check_attribute("vt", Duration::from_secs(s), Units::Checked));
        assert_eq!(seconds(9_999_999), "9999999");
        assert_eq!(seconds(10_000_000), "invalidValue: vt must be between 0 and 9999999 seconds");
        let half = Duration::from_millis(500);
        assert_eq!(
            text(check_attribute("delay", half, Units::Checked)),
            "invalidFormat: invalid delay format: a queue's times are whole seconds"
        );
        assert_eq!(text(check_attribute("delay", half, Units::Milliseconds)), "500");
        assert_eq!(text(check_maxsize(None)), "-1");
        assert_eq!(text(check_maxsize(Some(1024))), "1024");
        for wrong in [0, 1023, 65_537] {
            assert_eq!(
                text(check_maxsize(Some(wrong))),
                "invalidValue: maxsize must be between 1024 and 65536 (or none)"
            );
        }
    }

    #[test]
    fn ids_tell_when_they_were_sent() {
        let id: MessageId = "fmfr6gkg1iZ0123456789abcdefABCDE:".get(..32).unwrap().parse().unwrap();
        let us = u64::from_str_radix("fmfr6gkg1i", 36).unwrap();
        assert_eq!(id.sent(), SystemTime::UNIX_EPOCH + Duration::from_micros(us));
        for (wrong, expected) in
            [("", "no id supplied"), ("short", "invalid id format: 32 of the characters a-z, A-Z, 0-9 and :")]
        {
            assert_eq!(wrong.parse::<MessageId>().unwrap_err().to_string(), expected);
        }
    }
}
