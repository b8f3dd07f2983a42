//! OBJECT and MEMORY: what is known of a value beside what it holds.

use super::keys::row;
use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::encoding::Encoding;
use crate::errors::{self, Error};
use crate::keyspace::{Entry, Object, Slot};

const HELP: Flags = Flags::LOADING.and(Flags::STALE);

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec { subcommands: MEMORY, group: "server", ..row("memory", -2, Flags::NONE, Keys::None, "4.0.0", "A container for memory diagnostics commands.", |_, _| Err(errors::arity("memory"))) },
    CommandSpec { subcommands: OBJECT, ..row("object", -2, Flags::NONE, Keys::None, "2.2.3", "A container for object introspection commands.", |_, _| Err(errors::arity("object"))) },
];

#[rustfmt::skip]
const OBJECT: &[CommandSpec] = &[
    row("object|encoding", 3, Flags::READONLY, Keys::SECOND, "2.2.3", "Returns the internal encoding of a Redis object.", encoding),
    row("object|freq", 3, Flags::READONLY, Keys::SECOND, "4.0.0", "Returns the logarithmic access frequency counter of a Redis object.", freq),
    row("object|help", 2, HELP, Keys::None, "6.2.0", "Returns helpful text about the different subcommands.", |call, _| help(call, "object", OBJECT)),
    row("object|idletime", 3, Flags::READONLY, Keys::SECOND, "2.2.3", "Returns the time since the last access to a Redis object.", idletime),
    row("object|refcount", 3, Flags::READONLY, Keys::SECOND, "2.2.3", "Returns the reference count of a value of a key.", refcount),
];

#[rustfmt::skip]
const MEMORY: &[CommandSpec] = &[
    CommandSpec { group: "server", ..row("memory|help", 2, HELP, Keys::None, "4.0.0", "Returns helpful text about the different subcommands.", |call, _| help(call, "memory", MEMORY)) },
    CommandSpec { group: "server", complexity: "O(N) where N is the number of samples.", ..row("memory|usage", -3, Flags::READONLY, Keys::SECOND, "4.0.0", "Estimates the memory usage of a key.", usage) },
];

fn help(call: &mut Call<'_>, container: &str, rows: &[CommandSpec]) -> Result<Flow, Error> {
    super::introspection::subcommand_help(call, container, rows);
    Ok(Flow::Done)
}

/// The key of a subcommand, without touching it; if it is missing null is replied.
fn look_up(call: &mut Call<'_>, args: &[&[u8]]) -> Option<Slot> {
    let slot = call.peek(arg(args, 2));
    if slot.is_none() {
        call.reply.null();
    }
    slot
}

fn encoding(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    if let Some(slot) = look_up(call, args) {
        call.reply.bulk(call.encoding(slot).name().as_bytes());
    }
    Ok(Flow::Done)
}

/// Accesses are counted where keys are evicted by them; here nothing is evicted.
fn freq(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    if look_up(call, args).is_some() { Err(errors::NO_LFU) } else { Ok(Flow::Done) }
}

fn idletime(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    if let Some(slot) = look_up(call, args) {
        // A key that nobody looked at since it was read from the log counts from the start.
        let started_s = call.core.started_at.unwrap_or(call.now).seconds();
        let accessed_s = u64::from(call.database().entry(slot).accessed.seconds()).max(started_s);
        call.reply.count(call.now.seconds().saturating_sub(accessed_s) as usize);
    }
    Ok(Flow::Done)
}

/// Redis shares the integers below this one among all keys; it shows that by the largest count.
const SHARED_INTEGERS: i64 = 10_000;

fn refcount(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    if let Some(slot) = look_up(call, args) {
        let number = match call.object(slot) {
            Object::String(value) if call.encoding(slot) == Encoding::Int => cauce_resp::parse_i64(value),
            _ => None,
        };
        let shared = number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
        call.reply.integer(if shared { i64::from(i32::MAX) } else { 1 });
    }
    Ok(Flow::Done)
}

/// Elements that are measured where SAMPLES does not say how many.
const SAMPLES_DEFAULT: usize = 5;

/// `MEMORY USAGE key [SAMPLES count]`: of large values the first elements are measured, 0 means all.
fn usage(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (mut samples, mut options) = (SAMPLES_DEFAULT, from(args, 3));
    while let [option, rest @ ..] = options {
        let [count, rest @ ..] = rest else { return Err(errors::SYNTAX) };
        if !is(option, "SAMPLES") {
            return Err(errors::SYNTAX);
        }
        samples = usize::try_from(integer(count)?).map_err(|_| errors::SYNTAX)?;
        options = rest;
    }
    if samples == 0 {
        samples = usize::MAX;
    }
    if let Some(slot) = look_up(call, args) {
        let bytes = entry_bytes(call.core.database(call.db).entry(slot), samples);
        call.reply.count(bytes);
    }
    Ok(Flow::Done)
}

/// What the index of a table takes per element, about.
const INDEX_BYTES: usize = 8;

/// What a pending entry takes with its place in the group and at its consumer, about.
const PENDING_BYTES: usize = 58;

fn entry_bytes(entry: &Entry, samples: usize) -> usize {
    let own = size_of::<Entry>() + INDEX_BYTES + entry.key.len();
    own + match &entry.object {
        Object::String(value) => value.capacity(),
        Object::Stream(stream) => {
            let pending: usize = stream.groups().map(|(_, group)| group.pending().len()).sum();
            size_of_val(&**stream) + stream.entries().memory_bytes() + pending * PENDING_BYTES
        }
        Object::Hash(hash) => {
            let fields = hash.fields().iter().map(|field| field.name().len() + field.value().len());
            size_of_val(&**hash)
                + elements_bytes(hash.len(), size_of::<crate::collections::Field>(), fields, samples)
        }
        Object::Set(set) => {
            let members = set.members().iter().map(|member| member.len());
            size_of_val(&**set) + elements_bytes(set.len(), size_of::<Box<[u8]>>(), members, samples)
        }
        Object::SortedSet(set) => {
            let members = set.members().iter().map(|member| member.name().len());
            // Each member stands in the order too, whose nodes are half full at least.
            let own = size_of::<crate::collections::Member>() + 2 * size_of::<(f64, u32)>();
            size_of_val(&**set) + elements_bytes(set.len(), own, members, samples)
        }
    }
}

/// Of `count` elements of a fixed size each, whose texts are as long as those of the first on average.
fn elements_bytes(count: usize, own: usize, texts: impl Iterator<Item = usize>, samples: usize) -> usize {
    let (measured, bytes) = texts.take(samples).fold((0, 0), |(count, sum), len| (count + 1, sum + len));
    count * (own + INDEX_BYTES) + bytes * count / measured.max(1)
}
