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
