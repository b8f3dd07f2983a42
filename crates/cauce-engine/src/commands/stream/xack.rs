//! `XACK key group id [id ...]`

use super::options::strict_ids;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from};
use crate::errors::Error;
use crate::records::{Effect, StreamEffect};

pub(super) const XACK: CommandSpec = CommandSpec {
    name: "xack",
    arity: -4,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream.",
    complexity: "O(1) for each message ID processed.",
    run: xack,
    subcommands: &[],
};

fn xack(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, name) = (arg(args, 1), arg(args, 2));
    let acked = match call.find_stream(key)? {
        Some(slot) if call.stream(slot).group(name).is_some() => {
            let mut ids = strict_ids(from(args, 3))?;
            if let Some((group, _)) = call.stream_mut(slot).0.group_mut(name) {
                ids.retain(|&id| group.ack(id));
            }
            let acked = ids.len();
            if acked > 0 {
                call.record(slot, &Effect::Stream(StreamEffect::Ack { group: name, ids: ids.into() }));
            }
            acked
        }
        _ => 0,
    };
    call.reply.count(acked);
    Ok(Flow::Done)
}
