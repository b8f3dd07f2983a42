//! Commands that more than one place sends.

use std::borrow::Cow;
use std::sync::OnceLock;

use redis::Cmd;

use super::request::Request;
use crate::entry::{EntryId, Fields};

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// `XADD stream * name value ...`
pub(crate) fn xadd(stream: &str, fields: &Fields) -> Request {
    let mut request = Request::with_capacity(64 + stream.len() + fields.bulks().len());
    push_xadd(&mut request, stream, fields);
    request
}

/// The same, behind other commands.
pub(crate) fn push_xadd(request: &mut Request, stream: &str, fields: &Fields) {
    request.command(3 + 2 * fields.len()).arg("XADD").arg(stream).arg("*").packed(fields.bulks());
}

/// Appends ids without an allocation for each.
pub(crate) fn push_ids(command: &mut Cmd, ids: impl IntoIterator<Item = EntryId>) {
    each_id(ids, |id| {
        command.arg(id);
    });
}

/// Hands out the text of each id, in one buffer.
pub(crate) fn each_id(ids: impl IntoIterator<Item = EntryId>, mut take: impl FnMut(&[u8])) {
    use std::io::Write as _;
    let mut buffer = [0_u8; 41];
    for id in ids {
        let mut rest = buffer.as_mut_slice();
        let room = rest.len();
        // Two 64-bit numbers and a dash always fit 41 bytes.
        let written = write!(rest, "{id}").map_or(0, |()| room - rest.len());
        take(buffer.get(..written).unwrap_or_default());
    }
}

/// The key of something that Cauce keeps beside a stream. It shares the stream's cluster slot: a stream with a hash tag of its
/// own keeps it, any other becomes the tag. One that can be no tag, because of a `}` in it, gets a number of its slot as the tag.
pub(crate) fn companion(stream: &str, name: &str) -> String {
    format!("{}:{name}", tagged(stream))
}

/// The name of a stream with a hash tag of its slot.
pub(crate) fn tagged(stream: &str) -> Cow<'_, str> {
    if tag(stream).is_some() {
        stream.into()
    } else if stream.is_empty() || stream.contains('}') {
        format!("{{{}}}{stream}", number_of(slot(stream))).into()
    } else {
        format!("{{{stream}}}").into()
    }
}

/// The least number whose digits are in a slot.
fn number_of(slot: u16) -> u32 {
    static NUMBERS: OnceLock<Vec<u32>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let (mut numbers, mut missing) = (vec![u32::MAX; usize::from(SLOTS)], SLOTS);
        let mut digits = itoa::Buffer::new();
        for number in 0.. {
            if missing == 0 {
                break;
            }
            if let Some(place) = numbers.get_mut(usize::from(self::slot(digits.format(number))))
                && *place == u32::MAX
            {
                *place = number;
                missing -= 1;
            }
        }
        numbers
    });
    numbers.get(usize::from(slot)).copied().unwrap_or_default()
}

/// The hash tag of a key: what decides its cluster slot in place of the whole.
pub(crate) fn tag(key: &str) -> Option<&str> {
    let (tag, _) = key.split_once('{')?.1.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// The cluster slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key if it has none, modulo 16,384.
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let step = |crc: u16, byte: u8| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    };
    hashed.bytes().fold(0, step) % SLOTS
}

/// Where the dead letters of a stream go.
pub(crate) fn dead_stream(stream: &str) -> String {
    companion(stream, "dead")
}

/// Where copies of redriven entries go that only one group is to get.
pub(crate) fn again_stream(stream: &str, group: &str) -> String {
    companion(stream, &format!("again:{group}"))
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn companions_share_the_slot_of_their_stream() {
        assert_eq!(companion("flights", "dead"), "{flights}:dead");
        assert_eq!(companion("{eu}:flights", "dead"), "{eu}:flights:dead");
        for stream in
            ["", "flights", "{eu}:flights", "a{}b", "a}b", "{}", "}{", "{}a{b}", "a{b", "{a}b}", "}", "{{x}}"]
        {
            let companion = companion(stream, "dead");
            assert_eq!(slot(&companion), slot(stream), "{companion}");
            assert!(companion.ends_with(":dead") && companion.contains(stream), "{companion}");
        }
    }

    #[test]
    fn slots_are_those_of_a_cluster() {
        // As CLUSTER KEYSLOT of a redis-server says.
        assert_eq!((slot("123456789"), slot("foo"), slot("{foo}:x")), (12_739, 12_182, 12_182));
        assert_eq!(slot(&companion("flights", "dead")), slot("flights"));
        assert_eq!(slot(&companion("{eu}:flights", "dead")), slot("{eu}:flights"));
        assert_ne!(slot("a{}b"), slot(""));
    }

    #[test]
    fn ids_are_written_in_full() {
        let mut command = cmd("XACK");
        push_ids(&mut command, [EntryId::new(u64::MAX, u64::MAX), EntryId::new(1, 0)]);
        let packed = String::from_utf8(command.get_packed_command()).unwrap();
        assert!(packed.contains("18446744073709551615-18446744073709551615"), "{packed}");
        assert!(packed.ends_with("$3\r\n1-0\r\n"), "{packed}");
    }
}
