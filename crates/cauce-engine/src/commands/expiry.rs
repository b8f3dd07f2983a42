//! When keys expire.

use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error};
use crate::notify::NotifyClasses;
use crate::records::Effect;
use crate::time::Timestamp;

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec { keys: Keys::FIRST, ..CommandSpec::new(name, arity, flags, since, summary, run) }
}

const WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const READ: Flags = Flags::READONLY.and(Flags::FAST);

pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("expire", -3, WRITE, "1.0.0", "Sets the expiration time of a key in seconds.", |call, args| {
        expire(call, args, "expire", 1000, true)
    }),
    row("pexpire", -3, WRITE, "2.6.0", "Sets the expiration time of a key in milliseconds.", |call, args| {
        expire(call, args, "pexpire", 1, true)
    }),
    row(
        "expireat",
        -3,
        WRITE,
        "1.2.0",
        "Sets the expiration time of a key to a Unix timestamp.",
        |call, args| expire(call, args, "expireat", 1000, false),
    ),
    row(
        "pexpireat",
        -3,
        WRITE,
        "2.6.0",
        "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        |call, args| expire(call, args, "pexpireat", 1, false),
    ),
    row("persist", 2, WRITE, "2.2.0", "Removes the expiration time of a key.", persist),
    row("ttl", 2, READ, "1.0.0", "Returns the expiration time in seconds of a key.", |call, args| {
        time_to_live(call, args, |at, now| (at.saturating_sub(now) + 500) / 1000)
    }),
    row("pttl", 2, READ, "2.6.0", "Returns the expiration time in milliseconds of a key.", |call, args| {
        time_to_live(call, args, u64::saturating_sub)
    }),
    row(
        "expiretime",
        2,
        READ,
        "7.0.0",
        "Returns the expiration time of a key as a Unix timestamp.",
        |call, args| time_to_live(call, args, |at, _| (at + 500) / 1000),
    ),
    row(
        "pexpiretime",
        2,
        READ,
        "7.0.0",
        "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        |call, args| time_to_live(call, args, |at, _| at),
    ),
];

/// The conditions of `EXPIRE` (Redis 7.0).
#[derive(Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(options: &[&[u8]]) -> Result<Self, Error> {
        let mut conditions = Self::default();
        for option in options {
            match () {
                () if is(option, "NX") => conditions.only_without = true,
                () if is(option, "XX") => conditions.only_with = true,
                () if is(option, "GT") => conditions.only_later = true,
                () if is(option, "LT") => conditions.only_earlier = true,
                () => return Err(errors::unsupported_option(option)),
            }
        }
        let others = conditions.only_with || conditions.only_later || conditions.only_earlier;
        if conditions.only_without && others {
            return Err(errors::EXPIRE_NX_WITH_OTHERS);
        }
        if conditions.only_later && conditions.only_earlier {
            return Err(errors::EXPIRE_GT_AND_LT);
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `before` may expire at `at` instead.
    fn allow(&self, before: Option<Timestamp>, at: Timestamp) -> bool {
        let refused = self.only_without && before.is_some()
            || self.only_with && before.is_none()
            // A key without expiry lives for ever: nothing is later.
            || self.only_later && before.is_none_or(|before| at <= before)
            || self.only_earlier && before.is_some_and(|before| at >= before);
        !refused
    }
}

fn expire(
    call: &mut Call<'_>,
    args: &[&[u8]],
    command: &str,
    unit_millis: i64,
    relative: bool,
) -> Result<Flow, Error> {
    let invalid = || errors::invalid_expire(command);
    let conditions = Conditions::parse(from(args, 3))?;
    let number = integer(arg(args, 2))?;
    let millis = number.checked_mul(unit_millis).ok_or_else(invalid)?;
    let now = i64::try_from(call.now.millis()).unwrap_or(i64::MAX);
    let at = if relative { millis.checked_add(now).ok_or_else(invalid)? } else { millis };
    let at = Timestamp::from_millis(u64::try_from(at).unwrap_or_default());
    let key = arg(args, 1);
    let Some(slot) = call.find(key) else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let before = call.database().entry(slot).expires_at;
    if !conditions.allow(before, at) {
        call.reply.integer(0);
        return Ok(Flow::Done);
    }
    if at <= call.now {
        call.remove(slot);
        call.notify(NotifyClasses::GENERIC, "del", key);
    } else {
        call.database().set_expiry(slot, Some(at));
        call.record(slot, &Effect::Expire { at: Some(at) });
        call.notify(NotifyClasses::GENERIC, "expire", key);
    }
    call.reply.integer(1);
    Ok(Flow::Done)
}

fn persist(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let slot = call.find(key).filter(|&slot| call.core.database(call.db).entry(slot).expires_at.is_some());
    if let Some(slot) = slot {
        call.database().set_expiry(slot, None);
        call.record(slot, &Effect::Expire { at: None });
        call.notify(NotifyClasses::GENERIC, "persist", key);
    }
    call.reply.integer(i64::from(slot.is_some()));
    Ok(Flow::Done)
}

/// -2 without the key, -1 without an expiry, else what `show` makes of the expiry and the time now (ms).
fn time_to_live(call: &mut Call<'_>, args: &[&[u8]], show: fn(u64, u64) -> u64) -> Result<Flow, Error> {
    let Some(slot) = call.peek(arg(args, 1)) else {
        call.reply.integer(-2);
        return Ok(Flow::Done);
    };
    let now = call.now.millis();
    match call.database().entry(slot).expires_at {
        None => call.reply.integer(-1),
        Some(at) => call.reply.integer(i64::try_from(show(at.millis(), now)).unwrap_or(i64::MAX)),
    }
    Ok(Flow::Done)
}
