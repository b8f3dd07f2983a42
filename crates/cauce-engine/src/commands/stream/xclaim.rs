//! `XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds]
//! [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]`

use super::options::strict_id;
use super::reply;
use super::xreadgroup::see_consumer;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, is};
use crate::errors::{Error, stream as texts};
use crate::keyspace::Slot;
use crate::records::{Claim, Effect, StreamEffect};
use crate::stream::{DELIVERY_COUNT_MAX, Needs, StreamId};

pub(super) const XCLAIM: CommandSpec = CommandSpec {
    name: "xclaim",
    arity: -6,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member.",
    complexity: "O(log N) with N being the number of messages in the PEL of the consumer group.",
    run: xclaim,
    subcommands: &[],
};

/// How entries change hands.
#[derive(Debug)]
struct Terms {
    min_idle_ms: u64,
    /// The delivery time that the entries get, in Unix milliseconds.
    delivered_at: u64,
    retry_count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

fn xclaim(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, group, consumer) = (arg(args, 1), arg(args, 2), arg(args, 3));
    let slot = find_group(call, key, group)?;
    let min_idle = cauce_resp::parse_i64(arg(args, 4)).ok_or(texts::CLAIM_MIN_IDLE)?;
    // Whatever is no id begins the options.
    let ids: Vec<StreamId> = from(args, 5).iter().map_while(|text| StreamId::parse(text, 0).ok()).collect();
    let terms = Terms::parse(from(args, 5 + ids.len()), min_idle, call.now.millis())?;
    call.want(slot, &Needs::Ids(&ids));
    call.bring()?;
    skip_to(call, slot, group, terms.last_id);
    see_consumer(call, slot, key, group, consumer);
    claim(call, slot, (group, consumer), &ids, &terms);
    Ok(Flow::Done)
}

/// Finds the stream of a group that exists.
pub(super) fn find_group(call: &mut Call<'_>, key: &[u8], group: &[u8]) -> Result<Slot, Error> {
    let slot = call.find_stream(key)?;
    let slot = slot.filter(|&slot| call.stream(slot).group(group).is_some());
    slot.ok_or_else(|| texts::no_key_or_group(key, group))
}

impl Terms {
    fn parse(mut options: &[&[u8]], min_idle: i64, now_ms: u64) -> Result<Self, Error> {
        let mut terms = Self {
            min_idle_ms: u64::try_from(min_idle).unwrap_or_default(),
            delivered_at: now_ms,
            retry_count: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
        };
        let number = cauce_resp::parse_i64;
        // A time before the epoch or in the future means that somebody's clock is wrong: taken as now.
        let sane = |at: Option<i64>| {
            at.and_then(|at| u64::try_from(at).ok()).filter(|&at| at <= now_ms).unwrap_or(now_ms)
        };
        while let [option, rest @ ..] = options {
            options = match rest {
                _ if is(option, "FORCE") => {
                    terms.force = true;
                    rest
                }
                _ if is(option, "JUSTID") => {
                    terms.just_id = true;
                    rest
                }
                [value, rest @ ..] if is(option, "IDLE") => {
                    let idle = number(value).ok_or(texts::CLAIM_IDLE_OPTION)?;
                    terms.delivered_at = sane(now_ms.cast_signed().checked_sub(idle));
                    rest
                }
                [value, rest @ ..] if is(option, "TIME") => {
                    terms.delivered_at = sane(Some(number(value).ok_or(texts::CLAIM_TIME_OPTION)?));
                    rest
                }
                [value, rest @ ..] if is(option, "RETRYCOUNT") => {
                    let count = number(value).ok_or(texts::CLAIM_RETRYCOUNT_OPTION)?;
                    // A negative count is as good as none.
                    terms.retry_count = u64::try_from(count).ok();
                    rest
                }
                [value, rest @ ..] if is(option, "LASTID") => {
                    terms.last_id = strict_id(value)?;
                    rest
                }
                _ => return Err(texts::claim_option(option)),
            };
        }
        Ok(terms)
    }
}

/// Moves the group's cursor forward to `id`, if it is behind it.
fn skip_to(call: &mut Call<'_>, slot: Slot, group: &[u8], id: StreamId) {
    let Some((state, _)) = call.stream_mut(slot).0.group_mut(group) else { return };
    if id > state.last_delivered_id() {
        state.skip_to(id);
        call.record(slot, &Effect::Stream(StreamEffect::SkipTo { group, id }));
    }
}

/// Claims the entries that qualify, and writes the reply.
fn claim(call: &mut Call<'_>, slot: Slot, (name, consumer): (&[u8], &[u8]), ids: &[StreamId], terms: &Terms) {
    let now_ms = call.now.millis();
    let (stream, _) = call.stream_mut(slot);
    let Some((group, entries)) = stream.group_mut(name) else { return };
    let Some(index) = group.consumer_index(consumer) else { return };
    let (mut claims, mut dropped) = (Vec::new(), Vec::new());
    for &id in ids {
        if !entries.contains(id) {
            // Nobody can handle an entry that is gone.
            if group.ack(id) {
                dropped.push(id);
            }
            continue;
        }
        let before = match group.pending().get(id) {
            Some(pending) if !pending.is_idle(terms.min_idle_ms, now_ms) => continue,
            Some(pending) => pending.delivery_count,
            None if terms.force => FORCED_DELIVERY_COUNT,
            None => continue,
        };
        let counted = if terms.just_id { before } else { before.saturating_add(1).min(DELIVERY_COUNT_MAX) };
        let delivery_count = terms.retry_count.unwrap_or(counted);
        group.claim(id, index, terms.delivered_at, delivery_count, now_ms);
        claims.push(Claim { id, delivered_at: terms.delivered_at, delivery_count });
    }
    record_claims(call, slot, (name, consumer), &claims, dropped);
    write_claims(call, slot, &claims, terms.just_id);
}

/// The delivery count from which an entry that FORCE makes pending counts on.
const FORCED_DELIVERY_COUNT: u64 = 1;

/// Records what a claim changed.
pub(super) fn record_claims(
    call: &mut Call<'_>,
    slot: Slot,
    (group, consumer): (&[u8], &[u8]),
    claims: &[Claim],
    dropped: Vec<StreamId>,
) {
    if !dropped.is_empty() {
        call.record(slot, &Effect::Stream(StreamEffect::Ack { group, ids: dropped.into() }));
    }
    if !claims.is_empty() {
        let at_ms = call.now.millis();
        let effect = StreamEffect::Claim { group, consumer, at_ms, claims: claims.into() };
        call.record(slot, &Effect::Stream(effect));
    }
}

/// Writes the claimed entries, or only their ids.
pub(super) fn write_claims(call: &mut Call<'_>, slot: Slot, claims: &[Claim], just_id: bool) {
    let (stream, reply) = call.stream_mut(slot);
    reply.array(claims.len());
    for claim in claims {
        if just_id {
            reply::id(reply, claim.id);
        } else {
            let entry = stream.entries().entry(claim.id);
            reply::entry(reply, &entry.expect("only entries that are there are claimed"));
        }
    }
}
