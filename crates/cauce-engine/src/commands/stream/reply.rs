//! The shapes that several replies share.

use cauce_resp::Encoder;

use crate::stream::{Entry, IdBuffer, StreamId};

/// An id, as a bulk string.
pub(super) fn id(reply: &mut Encoder<'_>, id: StreamId) {
    reply.bulk(id.format(&mut IdBuffer::new()));
}

/// `[id, [field, value, ...]]`.
pub(super) fn entry(reply: &mut Encoder<'_>, entry: &Entry<'_>) {
    reply.array(2);
    id(reply, entry.id());
    fields(reply, entry);
}

/// `[id, [field, value, ...], idle milliseconds, deliveries before this one]`: the elements of XREADGROUP CLAIM.
pub(super) fn entry_with_history(reply: &mut Encoder<'_>, entry: &Entry<'_>, idle_ms: i64, deliveries: i64) {
    reply.array(4);
    id(reply, entry.id());
    fields(reply, entry);
    reply.integer(idle_ms);
    reply.integer(deliveries);
}

/// Bytes that [`entry`] takes.
pub(super) fn entry_len(entry: &Entry<'_>) -> u64 {
    let id_len = entry.id().format(&mut IdBuffer::new()).len();
    let fields = entry.fields();
    let heads = header_len(2) + bulk_len(id_len) + header_len(fields.len() * 2);
    heads + fields.map(|(name, value)| bulk_len(name.len()) + bulk_len(value.len())).sum::<u64>()
}

/// Bytes of a bulk string.
pub(super) fn bulk_len(len: usize) -> u64 {
    header_len(len) + len as u64 + 2
}

/// Bytes of the line that announces `len` elements or bytes.
pub(super) fn header_len(len: usize) -> u64 {
    u64::from(len.checked_ilog10().unwrap_or_default()) + 4
}

/// `[field, value, ...]`: a flat array in both protocols.
fn fields(reply: &mut Encoder<'_>, entry: &Entry<'_>) {
    let fields = entry.fields();
    reply.array(fields.len() * 2);
    for (name, value) in fields {
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// An entry, or null where it is not there.
pub(super) fn entry_or_null(reply: &mut Encoder<'_>, found: Option<&Entry<'_>>) {
    match found {
        Some(found) => entry(reply, found),
        None => reply.null(),
    }
}
