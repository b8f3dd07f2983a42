//! `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`

use super::options::interval_start;
use super::reply;
use super::xclaim::{find_group, record_claims, write_claims};
use super::xreadgroup::see_consumer;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, is};
use crate::errors::{self, Error, stream as texts};
use crate::keyspace::Slot;
use crate::records::Claim;
use crate::stream::{Needs, StreamId};

pub(super) const XAUTOCLAIM: CommandSpec = CommandSpec {
    name: "xautoclaim",
    arity: -6,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "6.2.0",
    summary: "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member.",
    complexity: "O(1) if COUNT is small.",
    run: xautoclaim,
    subcommands: &[],
};

/// How many pending entries are looked at for each one that may be claimed.
const ATTEMPTS_PER_ENTRY: usize = 10;
/// Entries claimed when COUNT is not given.
const COUNT_DEFAULT: usize = 100;
/// As in Redis: COUNT times the size of an id must stay a number.
const COUNT_MAX: i64 = i64::MAX / 16;

/// What to claim.
struct Terms {
    min_idle_ms: u64,
    start: StreamId,
    count: usize,
    just_id: bool,
}

/// What came of a scan.
#[derive(Default)]
struct Scan {
    claims: Vec<Claim>,
    /// Pending entries that were deleted from the stream, and are pending no more.
    dropped: Vec<StreamId>,
    /// Where to go on.
    next: Option<StreamId>,
}

fn xautoclaim(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, group, consumer) = (arg(args, 1), arg(args, 2), arg(args, 3));
    let terms = Terms::parse(args)?;
    let slot = find_group(call, key, group)?;
    let candidates = candidates(call, slot, group, &terms);
    call.want(slot, &Needs::Ids(&candidates));
    call.bring()?;
    see_consumer(call, slot, key, group, consumer);
    let scan = scan(call, slot, (group, consumer), &terms);
    record_claims(call, slot, (group, consumer), &scan.claims, scan.dropped.clone());
    call.reply.array(3);
    reply::id(&mut call.reply, scan.next.unwrap_or(StreamId::MIN));
    write_claims(call, slot, &scan.claims, terms.just_id);
    call.reply.array(scan.dropped.len());
    scan.dropped.iter().for_each(|&id| reply::id(&mut call.reply, id));
    Ok(Flow::Done)
}

impl Terms {
    fn parse(args: &[&[u8]]) -> Result<Self, Error> {
        let min_idle = cauce_resp::parse_i64(arg(args, 4)).ok_or(texts::AUTOCLAIM_MIN_IDLE)?;
        let mut terms = Self {
            min_idle_ms: u64::try_from(min_idle).unwrap_or_default(),
            start: interval_start(arg(args, 5))?,
            count: COUNT_DEFAULT,
            just_id: false,
        };
        let mut options = from(args, 6);
        while let [option, rest @ ..] = options {
            options = match rest {
                [value, rest @ ..] if is(option, "COUNT") => {
                    let count = cauce_resp::parse_i64(value).filter(|count| (1..=COUNT_MAX).contains(count));
                    terms.count = count.ok_or(texts::AUTOCLAIM_COUNT)? as usize;
                    rest
                }
                _ if is(option, "JUSTID") => {
                    terms.just_id = true;
                    rest
                }
                _ => return Err(errors::SYNTAX),
            };
        }
        Ok(terms)
    }
}

/// The pending entries that a scan looks at.
fn candidates(call: &Call<'_>, slot: Slot, name: &[u8], terms: &Terms) -> Vec<StreamId> {
    let stream = call.stream(slot);
    let Some(group) = stream.group(name).filter(|_| stream.entries().may_be_absent()) else {
        return Vec::new();
    };
    let (now_ms, mut idle) = (call.now.millis(), 0);
    let pending = group.pending().range(terms.start, StreamId::MAX);
    let looked_at =
        pending.take(terms.count.saturating_mul(ATTEMPTS_PER_ENTRY)).take_while(|(_, pending)| {
            let more = idle < terms.count;
            idle += usize::from(pending.is_idle(terms.min_idle_ms, now_ms));
            more
        });
    looked_at.map(|(id, _)| id).collect()
}

/// Claims what is idle long enough, from the start on. Entries that are gone count as claimed ones do.
fn scan(call: &mut Call<'_>, slot: Slot, (name, consumer): (&[u8], &[u8]), terms: &Terms) -> Scan {
    let now_ms = call.now.millis();
    let mut scan = Scan::default();
    let (stream, _) = call.stream_mut(slot);
    let Some((group, entries)) = stream.group_mut(name) else { return scan };
    let Some(index) = group.consumer_index(consumer) else { return scan };
    let mut attempts = terms.count.saturating_mul(ATTEMPTS_PER_ENTRY);
    scan.next = group.pending().range(terms.start, StreamId::MAX).map(|(id, _)| id).next();
    while let Some(id) = scan.next
        && attempts > 0
        && scan.claims.len() + scan.dropped.len() < terms.count
    {
        attempts -= 1;
        let pending = *group.pending().get(id).expect("the scan stands on a pending entry");
        if !entries.contains(id) {
            group.ack(id);
            scan.dropped.push(id);
        } else if pending.is_idle(terms.min_idle_ms, now_ms) {
            let delivery_count = if terms.just_id { pending.delivery_count } else { pending.next_count() };
            group.claim(id, index, now_ms, delivery_count, now_ms);
            scan.claims.push(Claim { id, delivered_at: now_ms, delivery_count });
        }
        scan.next =
            id.next().and_then(|after| group.pending().range(after, StreamId::MAX).next()).map(|(id, _)| id);
    }
    scan
}
