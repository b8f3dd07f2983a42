//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use cauce_resp::Encoder;

use super::from;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error};
use crate::session::Transaction;
use crate::users::Context;

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec {
        group: "transactions",
        ..CommandSpec::new(
            name,
            arity,
            flags.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
            since,
            summary,
            run,
        )
    }
}

const NOW: Flags = Flags::IMMEDIATE;
/// What may be said while a script keeps the engine: all but EXEC.
const NOW_OR_BUSY: Flags = NOW.and(Flags::FAST).and(Flags::ALLOW_BUSY);

pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("multi", 1, NOW_OR_BUSY, "1.2.0", "Starts a transaction.", multi),
    row("exec", 1, NOW.and(Flags::SKIP_SLOWLOG), "1.2.0", "Executes all commands in a transaction.", exec),
    row("discard", 1, NOW_OR_BUSY, "2.0.0", "Discards a transaction.", discard),
    CommandSpec {
        keys: Keys::ALL,
        ..row(
            "watch",
            -2,
            NOW_OR_BUSY,
            "2.2.0",
            "Monitors changes to keys to determine the execution of a transaction.",
            watch,
        )
    },
    row(
        "unwatch",
        1,
        Flags::FAST.and(Flags::ALLOW_BUSY),
        "2.2.0",
        "Forgets about watched keys of a transaction.",
        unwatch,
    ),
];

fn multi(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let session = call.session_mut();
    if session.transaction.is_some() {
        return Err(errors::NESTED_MULTI);
    }
    session.transaction = Some(Transaction::default());
    call.reply.ok();
    Ok(Flow::Done)
}

fn discard(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.session_mut().transaction.take().ok_or(errors::DISCARD_WITHOUT_MULTI)?;
    call.core.unwatch(call.by);
    call.reply.ok();
    Ok(Flow::Done)
}

fn exec(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    expire_watched(call);
    let session = call.session_mut();
    let transaction = session.transaction.take().ok_or(errors::EXEC_WITHOUT_MULTI)?;
    let broken = session.watch_broken;
    call.core.unwatch(call.by);
    if transaction.refused {
        return Err(errors::EXEC_ABORTED);
    }
    if broken {
        call.reply.null_array();
        return Ok(Flow::Done);
    }
    // Each command gets a call of its own (SELECT and HELLO change what the next one starts with).
    let (now, by) = (call.now, call.by);
    let mut replies = Vec::new();
    let mut close = false;
    for queued in &transaction.commands {
        let args: Vec<&[u8]> = queued.args.iter().map(|arg| &**arg).collect();
        // Permissions may have changed since it was queued.
        if let Err(denied) = call.core.check_permission(now, by, queued.spec, &args, Context::Multi) {
            let error = errors::acl::no_longer_permitted(denied);
            Encoder::new(&mut replies, call.core.session(by).protocol).error(error.text().as_bytes());
            continue;
        }
        let (flow, after) =
            call.core.call(queued.spec, now, by, &args, false, &mut replies, call.effects.out);
        call.effects.after = call.effects.after.max(after);
        close |= matches!(flow, Flow::Close);
    }
    call.reply.array(transaction.commands.len());
    call.reply.raw(&replies);
    Ok(if close { Flow::Close } else { Flow::Done })
}

/// A watched key whose time has come counts as changed.
fn expire_watched(call: &mut Call<'_>) {
    let here = call.db;
    for (database, key) in call.session().watched.clone() {
        call.db = database;
        call.find(&key);
    }
    call.db = here;
}

fn watch(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    if call.session().transaction.is_some() {
        return Err(errors::WATCH_INSIDE_MULTI);
    }
    let (by, db) = (call.by, call.db);
    for &key in from(args, 1) {
        call.find(key);
        let place = (db, Box::from(key));
        if !call.session().watched.contains(&place) {
            call.session_mut().watched.push(place);
            call.core.watchers.add(db, key, by);
        }
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn unwatch(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.core.unwatch(call.by);
    call.reply.ok();
    Ok(Flow::Done)
}
