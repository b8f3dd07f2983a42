//! `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]`

use super::options::{AddOrTrim, OptionsOf, References, TrimRequest};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::arg;
use crate::errors::Error;
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};
use crate::stream::{StreamId, Trim};

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
    let found = call.find_stream(key)?;
    if let (Some(slot), Some(needs)) = (found, options.trim.and_then(|trim| trim.needs(0))) {
        call.want(slot, &needs);
        call.bring()?;
    }
    let trimmed = match (found, options.trim) {
        (Some(slot), Some(request)) => trim(call, slot, key, request),
        _ => 0,
    };
    call.reply.integer(trimmed.cast_signed());
    Ok(Flow::Done)
}

/// Trims a stream and says how many entries left. The records hold what came out of it.
pub(super) fn trim(call: &mut Call<'_>, slot: Slot, key: &[u8], request: TrimRequest) -> u64 {
    let (stream, _) = call.stream_mut(slot);
    let trimmed = match request.references() {
        References::Keep => {
            let trimmed = request.apply(stream.entries_mut());
            record_length(call, slot, trimmed);
            trimmed
        }
        References::Remove => {
            let ids = request.candidates(stream);
            let length = stream.entries().len() - ids.len() as u64;
            stream.entries_mut().trim(Trim::MaxLen(length));
            record_length(call, slot, ids.len() as u64);
            strip(call, slot, &ids);
            ids.len() as u64
        }
        References::Respect => {
            let ids = request.candidates(stream);
            let trimmed = ids.len() as u64;
            for &id in &ids {
                stream.entries_mut().trim_one(id);
            }
            if trimmed > 0 {
                call.record(slot, &Effect::Stream(StreamEffect::TrimIds { ids: ids.into() }));
            }
            trimmed
        }
    };
    if trimmed > 0 {
        call.notify(NotifyClasses::STREAM, "xtrim", key);
    }
    trimmed
}

fn record_length(call: &mut Call<'_>, slot: Slot, trimmed: u64) {
    if trimmed > 0 {
        let length = call.stream(slot).entries().len();
        call.record(slot, &Effect::Stream(StreamEffect::Trim { length }));
    }
}

/// Takes entries off the pending entries of every group.
pub(super) fn strip(call: &mut Call<'_>, slot: Slot, ids: &[StreamId]) {
    let stripped = call.stream_mut(slot).0.strip(ids);
    let stripped: Vec<(Box<[u8]>, Vec<StreamId>)> =
        stripped.into_iter().map(|(group, ids)| (group.into(), ids)).collect();
    for (group, ids) in stripped {
        call.record(slot, &Effect::Stream(StreamEffect::Ack { group: &group, ids: ids.into() }));
    }
}
