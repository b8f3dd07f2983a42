//! RSMQ.RECEIVE.

use super::names::Part;
use super::{Names, Queue};
use crate::call::{Call, Flow};
use crate::collections::{Hash, Member, ScoreBound, SortedSet};
use crate::commands::{arg, hashes, integer, server, sorted_set};
use crate::errors::{self, Error};
use crate::keyspace::Slot;

/// What becomes of the messages that are received.
enum Take {
    Pop,
    /// Milliseconds.
    HideFor(f64),
}

/// Messages that were received, in order.
#[derive(Default)]
struct Received {
    names: Names,
    /// How often each was received, with this time.
    counts: Vec<u64>,
}

pub(super) fn run(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let count = usize::try_from(integer(arg(args, 4))?).map_err(|_| errors::NOT_INTEGER)?;
    let Some(queue) = Queue::open(call, args)? else { return Ok(Flow::Done) };
    let take = match arg(args, 5) {
        b"pop" => Take::Pop,
        b"" => Take::HideFor(queue.vt),
        vt => Take::HideFor(integer(vt)? as f64),
    };
    let now_ms = server::tell_time(call).millis();
    let mark = call.reply.len();
    let (messages, received) = loop {
        let messages = call.find_as::<SortedSet>(queue.messages)?;
        match write(call, &queue, messages, now_ms, count, &take) {
            Ok(received) => break (messages, received),
            Err(orphans) => {
                call.reply.truncate(mark);
                remove(call, &queue, messages, &orphans, true);
            }
        }
    };
    if received.names.is_empty() {
        return Ok(Flow::Done);
    }
    let total = queue.total(call, "totalrecv", received.names.len());
    match take {
        Take::Pop => {
            remove(call, &queue, messages, &received.names, queue.has_extras);
            let pair = [b"totalrecv".as_slice(), total.as_bytes()];
            hashes::set_fields(call, queue.hash, &pair, "rsmq.receive", "hset")?;
        }
        Take::HideFor(ms) => hide(call, &queue, &received, (now_ms as f64 + ms).trunc(), now_ms, &total)?,
    }
    Ok(Flow::Done)
}

/// Replies with what is visible. If there are ids without a body, with which nobody could do anything, returns those.
fn write(
    call: &mut Call<'_>,
    queue: &Queue<'_>,
    messages: Option<Slot>,
    now_ms: u64,
    count: usize,
    take: &Take,
) -> Result<Received, Names> {
    let mut received = Received::default();
    let (database, reply) = (call.core.database(call.db), &mut call.reply);
    let Some(messages) = messages else {
        reply.array(2);
        reply.integer(now_ms.cast_signed());
        reply.bulk(b"");
        return Ok(received);
    };
    let set: &SortedSet = database.look(messages);
    let hash: &Hash = database.look(queue.fields);
    let bound = |score| ScoreBound { score, exclusive: false };
    let visible = set.ranks(&bound(f64::NEG_INFINITY), &bound(now_ms as f64)).len();
    let taken = visible.min(count);

    reply.array(2 + 5 * taken);
    reply.integer(now_ms.cast_signed());
    let behind = taken..set.len().min(taken + usize::from(taken < count));
    let behind = set.range(behind, false).next().map(Member::score);
    // What is hidden now may be due before it.
    let again = match *take {
        Take::HideFor(ms) if 0 < taken && taken < count => Some((now_ms as f64 + ms).trunc()),
        _ => None,
    };
    match behind.into_iter().chain(again).reduce(f64::min) {
        // Times are far below 2^53; what others wrote may be anything.
        Some(due) => reply.integer(due as i64),
        None => reply.bulk(b""),
    }

    let number = |name: &[u8]| hash.value(name).and_then(cauce_resp::parse_i64)?.try_into().ok();
    let mut orphans = Names::default();
    for member in set.range(0..taken, false) {
        let id = member.name();
        let Some(body) = hash.value(id) else {
            orphans.push(id);
            continue;
        };
        received.names.push(id);
        let before: u64 = number(received.names.last(Part::ReceiveCount)).unwrap_or_default();
        let first = if before == 0 {
            now_ms
        } else {
            number(received.names.last(Part::FirstReceived)).unwrap_or_default()
        };
        let trace = if queue.has_extras { hash.value(received.names.last(Part::Trace)) } else { None };
        received.counts.push(before + 1);
        reply.bulk(id);
        reply.bulk(body);
        reply.integer((before + 1).cast_signed());
        reply.integer(first.cast_signed());
        reply.bulk(trace.unwrap_or_default());
    }
    if orphans.is_empty() { Ok(received) } else { Err(orphans) }
}

/// Takes messages out of the queue.
fn remove(call: &mut Call<'_>, queue: &Queue<'_>, messages: Option<Slot>, names: &Names, with_extras: bool) {
    if let Some(messages) = messages {
        let ids: Vec<&[u8]> = names.ids().collect();
        sorted_set::remove_members(call, messages, queue.messages, &ids);
    }
    hashes::delete_fields(call, queue.fields, queue.hash, &names.all(with_extras));
}

fn hide(
    call: &mut Call<'_>,
    queue: &Queue<'_>,
    received: &Received,
    due: f64,
    now_ms: u64,
    total: &str,
) -> Result<(), Error> {
    let scored = received.names.ids().map(|id| (due, id)).collect();
    sorted_set::put_members(call, queue.messages, scored)?;
    let now = now_ms.to_string();
    let repeated: Vec<String> =
        received.counts.iter().filter(|&&count| count > 1).map(u64::to_string).collect();
    let mut repeated = repeated.iter();
    let mut pairs = Vec::with_capacity(2 + 4 * received.counts.len());
    pairs.extend([b"totalrecv".as_slice(), total.as_bytes()]);
    for (place, &count) in received.counts.iter().enumerate() {
        let count_name = received.names.part(place, Part::ReceiveCount);
        if count == 1 {
            let first_name = received.names.part(place, Part::FirstReceived);
            pairs.extend([count_name, b"1", first_name, now.as_bytes()]);
        } else {
            pairs.extend([count_name, repeated.next().map_or(b"".as_slice(), |count| count.as_bytes())]);
        }
    }
    hashes::set_fields(call, queue.hash, &pairs, "rsmq.receive", "hset")?;
    Ok(())
}
