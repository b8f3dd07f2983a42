//! `XADD key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [IDMPAUTO producer | IDMP producer iid]
//! [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|ms-*|id field value [field value ...]`

use super::options::{AddOrTrim, OptionsOf};
use super::{idmp, reply, xtrim};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from};
use crate::errors::{self, Error, stream as texts};
use crate::keyspace::Object;
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};
use crate::stream::{Mark, NewId, NewIdError, StreamId};

pub(super) const XADD: CommandSpec = CommandSpec {
    name: "xadd",
    arity: -5,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Appends a new message to a stream. Creates the key if it doesn't exist.",
    complexity: "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
    run: xadd,
    subcommands: &[],
};

/// Names and values of an entry may take so many bytes together (as in Redis).
const ENTRY_BYTES_MAX: usize = 1 << 30;

fn xadd(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let options = AddOrTrim::parse(args, OptionsOf::Xadd, &call.core.settings)?;
    let Some(new_id_text) = args.get(options.end) else { return Err(errors::arity("xadd")) };
    let new_id = NewId::parse(new_id_text).map_err(|_| texts::INVALID_ID)?;
    let fields = from(args, options.end + 1);
    let (pairs, []) = fields.as_chunks::<2>() else { return Err(errors::arity("xadd")) };
    if pairs.is_empty() {
        return Err(errors::arity("xadd"));
    }
    if options.once.is_some() && *new_id_text != b"*" {
        return Err(texts::IDMP_EXPLICIT_ID);
    }
    if new_id == NewId::Explicit(StreamId::MIN) {
        return Err(texts::ID_ZERO);
    }
    let key = arg(args, 1);
    let found = call.find_stream(key)?;
    if found.is_none() && options.nomkstream {
        call.reply.null();
        return Ok(Flow::Done);
    }
    if let (Some(slot), Some(needs)) = (found, options.trim.and_then(|trim| trim.needs(1))) {
        call.want(slot, &needs);
        call.bring()?;
    }
    let last_id = found.map_or(StreamId::MIN, |slot| call.stream(slot).entries().counters().last_id);
    let mark = options.once.map(|once| idmp::mark_of(once, pairs));
    if let (Some((producer, iid)), Some(slot)) = (&mark, found)
        && let Some(before) = idmp::added_before(call, slot, producer, iid)
    {
        reply::id(&mut call.reply, before);
        return Ok(Flow::Done);
    }
    let id = new_id.resolve(call.now.millis(), last_id).map_err(|error| match error {
        NewIdError::NotGreater => texts::ID_NOT_GREATER,
        NewIdError::Exhausted => texts::ID_EXHAUSTED,
    })?;
    if fields.iter().map(|field| field.len()).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(texts::ENTRY_TOO_LARGE);
    }
    let slot = found.unwrap_or_else(|| call.insert(key, Object::Stream(std::sync::Arc::default())));
    let limits = call.core.settings.block_limits();
    let (stream, reply) = call.stream_mut(slot);
    stream.entries_mut().append(id, pairs.iter().map(|&[name, value]| (name, value)), limits);
    reply::id(reply, id);
    call.record(slot, &Effect::Stream(StreamEffect::Append { id, fields: fields.into() }));
    call.notify(NotifyClasses::STREAM, "xadd", key);
    if let Some((producer, iid)) = mark {
        idmp::mark(call, slot, producer, &iid, Mark { id, at_ms: call.now.millis() });
    }
    if let Some(request) = options.trim {
        xtrim::trim(call, slot, key, request);
    }
    Ok(Flow::Done)
}
