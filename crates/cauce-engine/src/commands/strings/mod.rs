//! String values, a file for each few commands that belong together.

mod count;
mod lcs;
mod part;
mod read;
mod write;

use crate::call::Call;
use crate::command::{CommandSpec, Flags, Handler, Keys};
use crate::errors::{self, Error};
use crate::keyspace::{Object, Slot};

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
        group: "string",
        complexity,
        ..CommandSpec::new(name, arity, flags, since, summary, run)
    }
}

const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const FAST_STORE: Flags = STORE.and(Flags::FAST);

/// A key and its value in turn.
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };
const PER_KEY: &str = "O(N) where N is the number of keys.";
const PER_BYTE: &str = "O(N) where N is the number of bytes returned or written.";

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("append", 3, FAST_STORE, "2.0.0", "Appends a string to the value of a key. Creates the key if it doesn't exist.", PER_BYTE, part::append),
    row("decr", 2, FAST_STORE, "1.0.0", "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.", "O(1)", count::decr),
    row("decrby", 3, FAST_STORE, "1.0.0", "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.", "O(1)", count::decrby),
    row("get", 2, FAST_READ, "1.0.0", "Returns the string value of a key.", "O(1)", read::get),
    row("getdel", 2, FAST_WRITE, "6.2.0", "Returns the string value of a key after deleting the key.", "O(1)", read::getdel),
    row("getex", -2, FAST_WRITE, "6.2.0", "Returns the string value of a key after setting its expiration time.", "O(1)", read::getex),
    row("getrange", 4, Flags::READONLY, "2.4.0", "Returns a substring of the string stored at a key.", PER_BYTE, part::getrange),
    row("getset", 3, FAST_STORE, "1.0.0", "Returns the previous string value of a key after setting it to a new value.", "O(1)", write::getset),
    row("incr", 2, FAST_STORE, "1.0.0", "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.", "O(1)", count::incr),
    row("incrby", 3, FAST_STORE, "1.0.0", "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.", "O(1)", count::incrby),
    row("incrbyfloat", 3, FAST_STORE, "2.6.0", "Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.", "O(1)", count::incrbyfloat),
    CommandSpec { keys: Keys::Range { first: 1, last: 2, step: 1 }, ..row("lcs", -3, Flags::READONLY, "7.0.0", "Finds the longest common substring.", "O(N*M) where N and M are the lengths of the strings.", lcs::lcs) },
    CommandSpec { keys: Keys::ALL, ..row("mget", -2, FAST_READ, "1.0.0", "Atomically returns the string values of one or more keys.", PER_KEY, read::mget) },
    CommandSpec { keys: PAIRS, ..row("mset", -3, STORE, "1.0.1", "Atomically creates or modifies the string values of one or more keys.", PER_KEY, write::mset) },
    CommandSpec { keys: PAIRS, ..row("msetnx", -3, STORE, "1.0.1", "Atomically modifies the string values of one or more keys only when all keys don't exist.", PER_KEY, write::msetnx) },
    row("psetex", 4, STORE, "2.6.0", "Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist.", "O(1)", |call, args| write::set_expiring(call, args, b"PX", "psetex")),
    row("set", -3, STORE, "1.0.0", "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.", "O(1)", write::set),
    row("setex", 4, STORE, "2.0.0", "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.", "O(1)", |call, args| write::set_expiring(call, args, b"EX", "setex")),
    row("setnx", 3, FAST_STORE, "1.0.0", "Sets the string value of a key only when the key doesn't exist.", "O(1)", write::setnx),
    row("setrange", 4, STORE, "2.2.0", "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.", PER_BYTE, part::setrange),
    row("strlen", 2, FAST_READ, "2.2.0", "Returns the length of a string value.", "O(1)", read::strlen),
    row("substr", 4, Flags::READONLY, "1.0.0", "Returns a substring from a string value.", PER_BYTE, part::getrange),
];

/// Finds a string; another type is an error.
fn find_string(call: &mut Call<'_>, key: &[u8]) -> Result<Option<Slot>, Error> {
    let Some(slot) = call.find(key) else { return Ok(None) };
    if matches!(call.object(slot), Object::String(_)) { Ok(Some(slot)) } else { Err(errors::WRONG_TYPE) }
}

/// The string in a slot that [`find_string`] returned.
fn look<'c>(call: &'c Call<'_>, slot: Slot) -> &'c [u8] {
    match call.object(slot) {
        Object::String(value) => value,
        _ => unreachable!("the slot was found as a string"),
    }
}

/// Replies with the string in a slot; another type is an error.
fn reply_string(call: &mut Call<'_>, slot: Slot) -> Result<(), Error> {
    match &call.core.database(call.db).entry(slot).object {
        Object::String(value) => call.reply.bulk(value),
        _ => return Err(errors::WRONG_TYPE),
    }
    Ok(())
}
