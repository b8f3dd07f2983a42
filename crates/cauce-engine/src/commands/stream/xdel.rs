//! `XDEL key id [id ...]`

use super::options::strict_ids;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from};
use crate::errors::Error;
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};
use crate::stream::Needs;

pub(super) const XDEL: CommandSpec = CommandSpec {
    name: "xdel",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Returns the number of messages after removing them from a stream.",
    complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
    run: xdel,
    subcommands: &[],
};

fn xdel(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let Some(slot) = call.find_stream(key)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let mut ids = strict_ids(from(args, 2))?;
    call.want(slot, &Needs::Ids(&ids));
    call.bring()?;
    let entries = call.stream_mut(slot).0.entries_mut();
    ids.retain(|&id| entries.delete(id));
    call.reply.count(ids.len());
    if !ids.is_empty() {
        call.record(slot, &Effect::Stream(StreamEffect::Delete { ids: ids.into() }));
        call.notify(NotifyClasses::STREAM, "xdel", key);
    }
    Ok(Flow::Done)
}
