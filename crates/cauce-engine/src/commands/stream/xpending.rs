//! `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`

use super::options::{interval_end, interval_start};
use super::reply;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error, stream as texts};
use crate::faults::Faults;
use crate::stream::{Group, StreamId};

pub(super) const XPENDING: CommandSpec = CommandSpec {
    name: "xpending",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Returns the information and entries from a stream consumer group's pending entries list.",
    complexity: "O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.",
    run: xpending,
    subcommands: &[],
};

/// Which pending entries are listed.
struct Filter<'a> {
    min_idle_ms: u64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

fn xpending(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let filter = match from(args, 3) {
        [] => None,
        options if (3..=6).contains(&options.len()) => Some(Filter::parse(options)?),
        _ => return Err(errors::SYNTAX),
    };
    let (key, name) = (arg(args, 1), arg(args, 2));
    let slot = call.find_stream(key)?.ok_or_else(|| texts::no_key_or_group(key, name))?;
    let now_ms = call.now.millis();
    let faults = Faults::of(&call.core.settings);
    let (stream, reply) = call.stream_mut(slot);
    let group = stream.group(name).ok_or_else(|| texts::no_key_or_group(key, name))?;
    match filter {
        None => summarize(reply, group, faults),
        Some(filter) => list(reply, group, &filter, now_ms),
    }
    Ok(Flow::Done)
}

impl<'a> Filter<'a> {
    fn parse(options: &[&'a [u8]]) -> Result<Self, Error> {
        let (min_idle_ms, options) = match options {
            [option, idle, rest @ ..] if is(option, "IDLE") => {
                let idle = u64::try_from(integer(idle)?).unwrap_or_default();
                (idle, rest)
            }
            _ => (0, options),
        };
        let [start, end, count, rest @ ..] = options else { return Err(errors::SYNTAX) };
        let count = usize::try_from(integer(count)?).unwrap_or_default();
        let (start, end) = (interval_start(start)?, interval_end(end)?);
        Ok(Self { min_idle_ms, start, end, count, consumer: rest.first().copied() })
    }
}

/// `[total, smallest id, greatest id, [[consumer, "count"], ...]]`
fn summarize(reply: &mut cauce_resp::Encoder<'_>, group: &Group, faults: Faults) {
    reply.array(4);
    reply.count(faults.pending_count(group.pending().len()));
    let (Some(first), Some(last)) = (group.pending().first(), group.pending().last()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply::id(reply, first);
    reply::id(reply, last);
    let busy = || group.consumers().filter(|(_, consumer)| !consumer.pending().is_empty());
    reply.array(busy().count());
    for (_, consumer) in busy() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_unsigned(consumer.pending().len() as u64);
    }
}

/// `[[id, consumer, idle milliseconds, deliveries], ...]`
fn list(reply: &mut cauce_resp::Encoder<'_>, group: &Group, filter: &Filter<'_>, now_ms: u64) {
    let of = match filter.consumer.map(|name| group.consumer_index(name)) {
        // A consumer that does not exist has nothing pending.
        Some(None) => return reply.array(0),
        Some(Some(index)) => Some(index),
        None => None,
    };
    let ids = |start, end| -> Vec<StreamId> {
        let idle = |id: &StreamId| {
            group.pending().get(*id).is_some_and(|pending| pending.is_idle(filter.min_idle_ms, now_ms))
        };
        match of {
            Some(index) => {
                let own = group.consumer(index).pending().range(start, end);
                own.map(|(id, ())| id).filter(idle).take(filter.count).collect()
            }
            None => {
                group.pending().range(start, end).map(|(id, _)| id).filter(idle).take(filter.count).collect()
            }
        }
    };
    let ids = ids(filter.start, filter.end);
    reply.array(ids.len());
    for id in ids {
        let pending = group.pending().get(id).expect("the id was just listed");
        reply.array(4);
        reply::id(reply, id);
        reply.bulk(group.owner_name(pending));
        reply.integer(pending.idle_ms(now_ms).map_or(-1, u64::cast_signed));
        reply.integer(pending.delivery_count.cast_signed());
    }
}
