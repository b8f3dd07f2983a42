//! Additions that happen once: what XADD does with IDMP and IDMPAUTO, and
//! `XCFGSET key [IDMP-DURATION seconds] [IDMP-MAXSIZE count]`, `XIDMPRECORD key producer iid id` (Redis 8.6).

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::options::{Once, strict_id};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, is};
use crate::config::{Bounded, IDMP_DURATION_S, IDMP_MAXSIZE};
use crate::errors::{self, Error, stream as texts};
use crate::keyspace::Slot;
use crate::records::{Effect, StreamEffect};
use crate::stream::{Idempotency, IdempotencyLimits, Mark, Needs, StreamId};

pub(super) const XCFGSET: CommandSpec = CommandSpec {
    name: "xcfgset",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "8.6.0",
    summary: "Sets how a stream keeps the marks of idempotent producers.",
    complexity: "O(1)",
    run: xcfgset,
    subcommands: &[],
};

pub(super) const XIDMPRECORD: CommandSpec = CommandSpec {
    name: "xidmprecord",
    arity: 5,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    since: "8.6.2",
    summary: "An internal command for setting the mark of an idempotent producer.",
    complexity: "O(log N) with N being the number of marks of the producer.",
    run: xidmprecord,
    ..XCFGSET
};

/// Bytes of the id that IDMPAUTO makes.
const DIGEST_BYTES: usize = 16;

/// The producer and the idempotent id of an addition. IDMPAUTO takes one of the fields, in whatever order.
pub(super) fn mark_of<'a>(once: Once<'a>, pairs: &[[&'a [u8]; 2]]) -> (&'a [u8], Cow<'a, [u8]>) {
    match once {
        Once::Id { producer, iid } => (producer, iid.into()),
        Once::Fields { producer } => {
            let mut sorted = pairs.to_vec();
            sorted.sort_unstable();
            let mut hash = Sha256::new();
            for text in sorted.iter().flatten() {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            let digest: Vec<u8> = hash.finalize().iter().copied().take(DIGEST_BYTES).collect();
            (producer, digest.into())
        }
    }
}

/// The entry that an addition became when it was made before.
pub(super) fn added_before(call: &mut Call<'_>, slot: Slot, producer: &[u8], iid: &[u8]) -> Option<StreamId> {
    let now_ms = call.now.millis();
    let table = call.stream_mut(slot).0.idempotency_mut()?;
    let mark = table.find(producer, iid, now_ms)?;
    table.count_duplicate();
    Some(mark.id)
}

/// Notes what an addition became.
pub(super) fn mark(call: &mut Call<'_>, slot: Slot, producer: &[u8], iid: &[u8], mark: Mark) {
    if call.stream(slot).idempotency().is_none() {
        let limits = call.core.settings.idempotency_limits();
        set_limits(call, slot, limits);
    }
    if let Some(table) = call.stream_mut(slot).0.idempotency_mut() {
        table.mark(producer, iid, mark);
    }
    let Mark { id, at_ms } = mark;
    call.record(slot, &Effect::Stream(StreamEffect::Mark { producer, iid, id, at_ms }));
    call.plan_forgetting(slot);
}

fn set_limits(call: &mut Call<'_>, slot: Slot, limits: IdempotencyLimits) {
    call.stream_mut(slot).0.set_idempotency_limits(limits);
    let IdempotencyLimits { duration_s, max_size } = limits;
    call.record(slot, &Effect::Stream(StreamEffect::LimitMarks { duration_s, max_size }));
}

fn xcfgset(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (mut duration_s, mut max_size) = (None, None);
    let mut options = from(args, 2);
    while let [option, value, rest @ ..] = options {
        options = rest;
        match () {
            () if is(option, "IDMP-DURATION") => {
                let number = bounded(value, &IDMP_DURATION_S).ok_or(texts::CFGSET_DURATION)?;
                once(&mut duration_s, number, texts::CFGSET_DURATION_TWICE)?;
            }
            () if is(option, "IDMP-MAXSIZE") => {
                let number = bounded(value, &IDMP_MAXSIZE).ok_or(texts::CFGSET_MAXSIZE)?;
                once(&mut max_size, number, texts::CFGSET_MAXSIZE_TWICE)?;
            }
            () => return Err(errors::SYNTAX),
        }
    }
    if !options.is_empty() {
        return Err(errors::SYNTAX);
    }
    if duration_s.is_none() && max_size.is_none() {
        return Err(texts::CFGSET_NOTHING);
    }
    let slot = call.find_stream(arg(args, 1))?.ok_or(errors::NO_SUCH_KEY)?;
    let table = call.stream(slot).idempotency();
    let before = table.map_or(call.core.settings.idempotency_limits(), Idempotency::limits);
    let limits = IdempotencyLimits {
        duration_s: duration_s.unwrap_or(before.duration_s),
        max_size: max_size.unwrap_or(before.max_size),
    };
    if table.is_none() || limits != before {
        set_limits(call, slot, limits);
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn bounded(text: &[u8], bounds: &Bounded) -> Option<u64> {
    let number = cauce_resp::parse_i64(text).and_then(|number| u64::try_from(number).ok());
    number.filter(|number| (bounds.min..=bounds.max).contains(number))
}

fn once(place: &mut Option<u64>, value: u64, twice: Error) -> Result<(), Error> {
    if place.replace(value).is_some() { Err(twice) } else { Ok(()) }
}

fn xidmprecord(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, producer, iid) = (arg(args, 1), arg(args, 2), arg(args, 3));
    if producer.is_empty() {
        return Err(texts::RECORD_NO_PRODUCER);
    }
    if iid.is_empty() {
        return Err(texts::RECORD_NO_ID);
    }
    let id = strict_id(arg(args, 4))?;
    let slot = call.find_stream(key)?.ok_or(errors::NO_SUCH_KEY)?;
    call.want(slot, &Needs::Ids(&[id]));
    call.bring()?;
    if !call.stream(slot).entries().contains(id) {
        return Err(texts::RECORD_NO_ENTRY);
    }
    let now_ms = call.now.millis();
    let before = call.stream(slot).idempotency().and_then(|table| table.find(producer, iid, now_ms));
    match before {
        Some(before) if before.id != id => return Err(texts::RECORD_OTHER_ENTRY),
        Some(_) => {}
        // The entry's own time is the best guess at when it was added.
        None => mark(call, slot, producer, iid, Mark { id, at_ms: id.ms.min(now_ms) }),
    }
    call.reply.ok();
    Ok(Flow::Done)
}
