//! `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]`

use super::options::{AddOrTrim, OptionsOf, TrimRequest};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::arg;
use crate::errors::Error;
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};

pub(super) const XTRIM: CommandSpec = CommandSpec {
    name: "xtrim",
    arity: -4,
    flags: Flags::WRITE,
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Deletes messages from the beginning of a stream.",
    complexity: "O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in blocks containing multiple entries that can be released in a single deallocation.",
    run: xtrim,
    subcommands: &[],
};

fn xtrim(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let options = AddOrTrim::parse(args, OptionsOf::Xtrim, &call.core.settings)?;
    let key = arg(args, 1);
    let trimmed = match (call.find_stream(key)?, options.trim) {
        (Some(slot), Some(request)) => trim(call, slot, key, request),
        _ => 0,
    };
    call.reply.integer(trimmed.cast_signed());
    Ok(Flow::Done)
}

/// Trims a stream and says how many entries left. The record holds the length that came out.
pub(super) fn trim(call: &mut Call<'_>, slot: Slot, key: &[u8], request: TrimRequest) -> u64 {
    let entries = call.stream_mut(slot).0.entries_mut();
    let trimmed = request.apply(entries);
    let length = entries.len();
    if trimmed > 0 {
        call.record(slot, &Effect::Stream(StreamEffect::Trim { length }));
        call.notify(NotifyClasses::STREAM, "xtrim", key);
    }
    trimmed
}
