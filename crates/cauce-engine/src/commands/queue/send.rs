//! RSMQ.SEND.

use super::Queue;
use crate::call::{Call, Flow};
use crate::collections::{Hash, SortedSet};
use crate::commands::{arg, from, hashes, integer, server, sorted_set};
use crate::errors::{self, Error};
use crate::time::Timestamp;

/// The time that an id begins with, in base 36, and the random rest.
const TIME_LENGTH: usize = 10;
const SUFFIX_LENGTH: usize = 22;
const ID_LENGTH: usize = TIME_LENGTH + SUFFIX_LENGTH;

const TRACE: &[u8] = b":trace";
/// RSMQ's clients leave the traces of what they delete behind. They are looked for, so many fields per send, when the hash has more
/// than so many fields beyond those of its messages.
const SWEEP_LENGTH: usize = 500;
const LEFT_BEHIND_MAX: usize = 1000;
const FIELDS_PER_MESSAGE: usize = 5;

/// What is to be sent.
struct Letters<'s, 'a> {
    is_atomic: bool,
    channel: &'a [u8],
    /// Random end of the id, body.
    each: &'s [[&'a [u8]; 2]],
    /// Empty where they are not given.
    delays: &'s [&'a [u8]],
    traces: &'s [&'a [u8]],
}

impl<'s, 'a> Letters<'s, 'a> {
    fn parse(args: &'s [&'a [u8]]) -> Result<Self, Error> {
        let [delayed, traced] = [6, 7].map(|at| arg(args, at) == b"1");
        // At 8 is the longest body's length: the script asks for it, and it costs nothing here to know better.
        let rest = from(args, 9);
        let width = 2 + usize::from(delayed) + usize::from(traced);
        let count = rest.len() / width;
        if rest.len() != count * width {
            return Err(errors::SYNTAX);
        }
        let (each, rest) = rest.split_at_checked(2 * count).ok_or(errors::SYNTAX)?;
        let (delays, traces) =
            rest.split_at_checked(if delayed { count } else { 0 }).ok_or(errors::SYNTAX)?;
        let (each, _) = each.as_chunks();
        if each.iter().any(|[suffix, _]| suffix.len() != SUFFIX_LENGTH) {
            return Err(errors::SYNTAX);
        }
        let (is_atomic, channel) = (arg(args, 4) == b"1", arg(args, super::SEND_CHANNEL_AT));
        Ok(Self { is_atomic, channel, each, delays, traces })
    }
}

pub(super) fn run(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let letters = Letters::parse(args)?;
    let delays: Vec<Option<i64>> = letters
        .delays
        .iter()
        .map(|delay| (!delay.is_empty()).then(|| integer(delay)).transpose())
        .collect::<Result<_, _>>()?;
    let Some(queue) = Queue::open(call, args)? else { return Ok(Flow::Done) };
    call.find_as::<SortedSet>(queue.messages)?;
    let now = server::tell_time(call);
    let now_ms = now.millis() as f64;
    let usual = (now_ms + queue.delay).trunc();

    let prefix = id_prefix(now);
    let mut ids = Vec::with_capacity(letters.each.len() * ID_LENGTH);
    for [suffix, _] in letters.each {
        ids.extend_from_slice(&prefix);
        ids.extend_from_slice(suffix);
    }
    let (ids, _) = ids.as_chunks::<ID_LENGTH>();

    let mut scored = Vec::with_capacity(ids.len());
    let mut pairs = Vec::with_capacity(2 + 2 * ids.len());
    pairs.extend([b"totalsent".as_slice(), b""]);
    let (mut traces, mut too_long) = (Vec::new(), Vec::new());
    for (place, (id, [_, body])) in ids.iter().zip(letters.each).enumerate() {
        if !fits(body, queue.length_max) {
            too_long.push(place);
            continue;
        }
        let delay = delays.get(place).copied().flatten();
        scored.push((delay.map_or(usual, |delay| now_ms + delay as f64), id.as_slice()));
        pairs.extend([id.as_slice(), body]);
        let trace = arg(letters.traces, place);
        if !trace.is_empty() {
            traces.push(([id.as_slice(), TRACE].concat(), trace));
        }
    }
    if let Some(&place) = too_long.first().filter(|_| letters.is_atomic) {
        call.reply.array(2);
        call.reply.bulk(b"messageTooLong");
        call.reply.count(place);
        return Ok(Flow::Done);
    }
    call.reply.array(1 + too_long.len());
    call.reply.bulk(&prefix);
    too_long.into_iter().for_each(|place| call.reply.count(place));
    let sent = scored.len();
    if sent == 0 {
        return Ok(Flow::Done);
    }
    sorted_set::put_members(call, queue.messages, scored)?;
    let total = queue.total(call, "totalsent", sent);
    if let Some(value) = pairs.get_mut(1) {
        *value = total.as_bytes();
    }
    hashes::set_fields(call, queue.hash, &pairs, "rsmq.send", "hset")?;
    announce(call, &queue, letters.channel, sent);
    if !traces.is_empty() {
        set_traces(call, &queue, &traces)?;
    }
    Ok(Flow::Done)
}

/// As RSMQ does: for each message how many there are with it.
fn announce(call: &mut Call<'_>, queue: &Queue<'_>, channel: &[u8], sent: usize) {
    if channel.is_empty() {
        return;
    }
    let size = length(call, queue);
    for number in size - sent.min(size) + 1..=size {
        call.publish(channel, itoa::Buffer::new().format(number).as_bytes());
    }
}

fn length(call: &mut Call<'_>, queue: &Queue<'_>) -> usize {
    call.find(queue.messages).map_or(0, |slot| call.look::<SortedSet>(slot).len())
}

fn set_traces(call: &mut Call<'_>, queue: &Queue<'_>, traces: &[(Vec<u8>, &[u8])]) -> Result<(), Error> {
    let mut pairs = vec![b"extras".as_slice(), b"1"];
    pairs.extend(traces.iter().flat_map(|(name, trace)| [name.as_slice(), trace]));
    hashes::set_fields(call, queue.hash, &pairs, "rsmq.send", "hset")?;
    let usual = FIELDS_PER_MESSAGE * length(call, queue);
    if call.look::<Hash>(queue.fields).len() > usual + LEFT_BEHIND_MAX {
        sweep(call, queue)?;
    }
    Ok(())
}

/// Removes traces of messages that are gone, among the next fields.
fn sweep(call: &mut Call<'_>, queue: &Queue<'_>) -> Result<(), Error> {
    let Some(messages) = call.find_as::<SortedSet>(queue.messages)? else { return Ok(()) };
    let (hash, set) = (call.look::<Hash>(queue.fields), call.look::<SortedSet>(messages));
    let cursor = hash.value(b"swept").and_then(cauce_resp::parse_i64);
    let mut fields = hash.fields().scan(cursor.and_then(|at| usize::try_from(at).ok()).unwrap_or_default());
    let gone: Vec<Vec<u8>> = fields
        .by_ref()
        .take(SWEEP_LENGTH)
        .filter(|(_, field)| {
            field.name().strip_suffix(TRACE).is_some_and(|message| set.score(message).is_none())
        })
        .map(|(_, field)| field.name().to_vec())
        .collect();
    let next = fields.next().map_or(0, |(at, _)| at).to_string();
    drop(fields);
    let names: Vec<&[u8]> = gone.iter().map(Vec::as_slice).collect();
    hashes::delete_fields(call, queue.fields, queue.hash, &names);
    hashes::set_fields(call, queue.hash, &[b"swept", next.as_bytes()], "rsmq.send", "hset")?;
    Ok(())
}

/// What ids begin with: the microsecond in base 36.
fn id_prefix(now: Timestamp) -> [u8; TIME_LENGTH] {
    let mut micros = now.micros();
    let mut prefix = [b'0'; TIME_LENGTH];
    for place in prefix.iter_mut().rev() {
        let digit = (micros % 36) as u8;
        *place = digit + if digit < 10 { b'0' } else { b'a' - 10 };
        micros /= 36;
    }
    prefix
}

/// Whether a body is short enough. In UTF-16 units, as JavaScript counts: one per character, one more beyond the basic plane.
fn fits(body: &[u8], max: f64) -> bool {
    if body.len() as f64 <= max {
        return true;
    }
    let units = |byte: &u8| match byte {
        0x80..=0xBF => 0,
        0xF0..=0xF7 => 2,
        _ => 1,
    };
    body.iter().map(units).sum::<usize>() as f64 <= max
}
