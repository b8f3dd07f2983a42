//! Hashes.

use std::borrow::Cow;

use cauce_resp::{Encoder, Protocol};

use super::numbers::{self, Wanted};
use super::scan::{self, ScanOptions};
use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::collections::{Field, Hash};
use crate::command::{CommandSpec, Flags, Handler, Keys};
use crate::errors::{self, Error, collections as texts};
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{CollectionEffect, Effect};

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    complexity: &'static str,
    run: Handler,
) -> CommandSpec {
    CommandSpec {
        keys: Keys::FIRST,
        group: "hash",
        complexity,
        ..CommandSpec::new(name, arity, flags, since, summary, run)
    }
}

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const PER_FIELD: &str = "O(N) where N is the number of fields.";
const PER_HASH: &str = "O(N) where N is the size of the hash.";

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("hdel", -3, Flags::WRITE.and(Flags::FAST), "2.0.0", "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.", PER_FIELD, hdel),
    row("hexists", 3, FAST_READ, "2.0.0", "Determines whether a field exists in a hash.", "O(1)", hexists),
    row("hget", 3, FAST_READ, "2.0.0", "Returns the value of a field in a hash.", "O(1)", hget),
    row("hgetall", 2, READ, "2.0.0", "Returns all fields and values in a hash.", PER_HASH, hgetall),
    row("hincrby", 4, GROW, "2.0.0", "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist.", "O(1)", hincrby),
    row("hincrbyfloat", 4, GROW, "2.6.0", "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist.", "O(1)", hincrbyfloat),
    row("hkeys", 2, READ, "2.0.0", "Returns all fields in a hash.", PER_HASH, |call, args| list(call, args, Field::name)),
    row("hlen", 2, FAST_READ, "2.0.0", "Returns the number of fields in a hash.", "O(1)", hlen),
    row("hmget", -3, FAST_READ, "2.0.0", "Returns the values of all fields in a hash.", PER_FIELD, hmget),
    row("hmset", -4, GROW, "2.0.0", "Sets the values of multiple fields.", PER_FIELD, hmset),
    row("hrandfield", -2, READ, "6.2.0", "Returns one or more random fields from a hash.", "O(N) where N is the number of fields returned.", hrandfield),
    row("hscan", -3, READ, "2.8.0", "Iterates over fields and values of a hash.", "O(1) for every call. O(N) for a complete iteration.", hscan),
    row("hset", -4, GROW, "2.0.0", "Creates or modifies the value of a field in a hash.", "O(1) for each field/value pair added.", hset),
    row("hsetnx", 4, GROW, "2.0.0", "Sets the value of a field in a hash only when the field doesn't exist.", "O(1)", hsetnx),
    row("hstrlen", 3, FAST_READ, "3.2.0", "Returns the length of the value of a field.", "O(1)", hstrlen),
    row("hvals", 2, READ, "2.0.0", "Returns all values in a hash.", PER_HASH, |call, args| list(call, args, Field::value)),
];

fn hset(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let added = set_fields(call, arg(args, 1), from(args, 2), "hset", "hset")?;
    call.reply.count(added);
    Ok(Flow::Done)
}

fn hmset(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    set_fields(call, arg(args, 1), from(args, 2), "hmset", "hset")?;
    call.reply.ok();
    Ok(Flow::Done)
}

/// Sets fields; returns how many are new.
pub(super) fn set_fields(
    call: &mut Call<'_>,
    key: &[u8],
    pairs: &[&[u8]],
    command: &str,
    event: &str,
) -> Result<usize, Error> {
    let (each, rest) = pairs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(errors::arity(command));
    }
    let found = call.find_as::<Hash>(key)?;
    let slot = found.unwrap_or_else(|| call.insert_empty::<Hash>(key));
    let hash = call.collection_mut::<Hash>(slot);
    let added = each.iter().filter(|[name, value]| hash.set(name, value)).count();
    call.record(slot, &Effect::Collection(CollectionEffect::HashSet { pairs: Cow::Borrowed(pairs) }));
    let thresholds = call.core.settings.thresholds;
    call.encode(slot, thresholds.hash_after(call.encoding(slot), call.look::<Hash>(slot), pairs));
    call.notify(NotifyClasses::HASH, event, key);
    Ok(added)
}

fn hsetnx(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, name) = (arg(args, 1), arg(args, 2));
    let missing = !field(call, key, name, |value, _| value.is_some())?;
    if missing {
        set_fields(call, key, from(args, 2), "hsetnx", "hset")?;
    }
    call.reply.integer(i64::from(missing));
    Ok(Flow::Done)
}

/// Looks at the value of a field, which may be missing as the key may be.
fn field<T>(
    call: &mut Call<'_>,
    key: &[u8],
    name: &[u8],
    look: impl FnOnce(Option<&[u8]>, &mut Encoder<'_>) -> T,
) -> Result<T, Error> {
    Ok(match call.find_as::<Hash>(key)? {
        Some(slot) => {
            let (hash, reply) = call.collection::<Hash>(slot);
            look(hash.value(name), reply)
        }
        None => look(None, &mut call.reply),
    })
}

fn write_value(value: Option<&[u8]>, reply: &mut Encoder<'_>) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

fn hget(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    field(call, arg(args, 1), arg(args, 2), write_value)?;
    Ok(Flow::Done)
}

fn hmget(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let names = from(args, 2);
    let slot = call.find_as::<Hash>(arg(args, 1))?;
    call.reply.array(names.len());
    match slot {
        Some(slot) => {
            let (hash, reply) = call.collection::<Hash>(slot);
            names.iter().for_each(|name| write_value(hash.value(name), reply));
        }
        None => names.iter().for_each(|_| call.reply.null()),
    }
    Ok(Flow::Done)
}

fn hexists(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    field(call, arg(args, 1), arg(args, 2), |value, reply| reply.integer(i64::from(value.is_some())))?;
    Ok(Flow::Done)
}

fn hstrlen(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    field(call, arg(args, 1), arg(args, 2), |value, reply| reply.count(value.map_or(0, <[u8]>::len)))?;
    Ok(Flow::Done)
}

fn hlen(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let len = call.find_as::<Hash>(arg(args, 1))?.map_or(0, |slot| call.collection::<Hash>(slot).0.len());
    call.reply.count(len);
    Ok(Flow::Done)
}

fn hgetall(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let Some(slot) = call.find_as::<Hash>(arg(args, 1))? else {
        call.reply.map(0);
        return Ok(Flow::Done);
    };
    let (hash, reply) = call.collection::<Hash>(slot);
    reply.map(hash.len());
    for field in hash.fields().iter() {
        reply.bulk(field.name());
        reply.bulk(field.value());
    }
    Ok(Flow::Done)
}

/// HKEYS and HVALS.
fn list(call: &mut Call<'_>, args: &[&[u8]], part: fn(&Field) -> &[u8]) -> Result<Flow, Error> {
    let Some(slot) = call.find_as::<Hash>(arg(args, 1))? else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    let (hash, reply) = call.collection::<Hash>(slot);
    reply.array(hash.len());
    hash.fields().iter().for_each(|field| reply.bulk(part(field)));
    Ok(Flow::Done)
}

fn hdel(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let Some(slot) = call.find_as::<Hash>(key)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let deleted = delete_fields(call, slot, key, from(args, 2));
    call.reply.count(deleted);
    Ok(Flow::Done)
}

/// Deletes fields of a hash that was found; returns how many were there.
pub(super) fn delete_fields(call: &mut Call<'_>, slot: Slot, key: &[u8], names: &[&[u8]]) -> usize {
    let hash = call.collection_mut::<Hash>(slot);
    let fields: Vec<&[u8]> = names.iter().copied().filter(|name| hash.delete(name)).collect();
    let deleted = fields.len();
    if deleted > 0 {
        let effect = CollectionEffect::HashDelete { fields: fields.into() };
        call.taken::<Hash>(slot, effect, NotifyClasses::HASH, "hdel", key);
    }
    deleted
}

fn hincrby(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, name, by) = (arg(args, 1), arg(args, 2), integer(arg(args, 3))?);
    let before = field(call, key, name, |value, _| {
        value.map_or(Some(0), cauce_resp::parse_i64).ok_or(texts::HASH_NOT_INTEGER)
    })??;
    let value = before.checked_add(by).ok_or(errors::INCREMENT_OVERFLOW)?;
    let text = value.to_string();
    set_fields(call, key, &[name, text.as_bytes()], "hincrby", "hincrby")?;
    call.reply.integer(value);
    Ok(Flow::Done)
}

fn hincrbyfloat(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, name, by) = (arg(args, 1), arg(args, 2), arg(args, 3));
    if !numbers::double(by).ok_or(texts::NOT_FLOAT)?.is_finite() {
        return Err(texts::NOT_FINITE);
    }
    let sum = field(call, key, name, |value, _| {
        let before = value.unwrap_or(b"0");
        numbers::double(before).ok_or(texts::HASH_NOT_FLOAT)?;
        numbers::sum(before, by).ok_or(texts::SUM_NOT_FINITE)
    })??;
    set_fields(call, key, &[name, sum.as_bytes()], "hincrbyfloat", "hincrbyfloat")?;
    call.reply.bulk(sum.as_bytes());
    Ok(Flow::Done)
}

fn hscan(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let cursor = scan::cursor(arg(args, 2))?;
    let Some(slot) = call.find_as::<Hash>(arg(args, 1))? else {
        scan::write_nothing(&mut call.reply);
        return Ok(Flow::Done);
    };
    let options = ScanOptions::parse(from(args, 3), false)?;
    let encoding = call.encoding(slot);
    let (hash, reply) = call.collection::<Hash>(slot);
    let cursor = (!scan::is_whole(encoding, hash.len())).then_some(cursor);
    scan::write_elements(reply, hash.fields(), cursor, &options, 2, |reply, field| {
        reply.bulk(field.name());
        reply.bulk(field.value());
    });
    Ok(Flow::Done)
}

fn hrandfield(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let [count, options @ ..] = from(args, 2) else { return random_field(call, key) };
    let with_values = match options {
        [] => false,
        [option] if is(option, "WITHVALUES") => true,
        _ => {
            integer(count)?;
            return Err(errors::SYNTAX);
        }
    };
    let wanted = Wanted::parse(count, with_values)?;
    let Some(slot) = call.find_as::<Hash>(key)? else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    let chosen = choose_fields(call, slot, wanted);
    let (hash, reply) = call.collection::<Hash>(slot);
    let flat = reply.protocol() == Protocol::Resp2;
    reply.array(if with_values && flat { chosen.len() * 2 } else { chosen.len() });
    for at in chosen {
        let field = hash.fields().get(at);
        if with_values && !flat {
            reply.array(2);
        }
        reply.bulk(field.name());
        if with_values {
            reply.bulk(field.value());
        }
    }
    Ok(Flow::Done)
}

fn random_field(call: &mut Call<'_>, key: &[u8]) -> Result<Flow, Error> {
    let Some(slot) = call.find_as::<Hash>(key)? else {
        call.reply.null();
        return Ok(Flow::Done);
    };
    let chosen = choose_fields(call, slot, Wanted::Repeated(1));
    let (hash, reply) = call.collection::<Hash>(slot);
    chosen.into_iter().for_each(|at| reply.bulk(hash.fields().get(at).name()));
    Ok(Flow::Done)
}

fn choose_fields(call: &mut Call<'_>, slot: Slot, wanted: Wanted) -> Vec<u32> {
    let mut random = std::mem::take(&mut call.core.random);
    let chosen = wanted.choose(call.collection::<Hash>(slot).0.fields(), &mut random);
    call.core.random = random;
    chosen
}
