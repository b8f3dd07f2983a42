//! A connection's own state: HELLO, AUTH, SELECT, RESET, QUIT, PING, ECHO.

use cauce_resp::Protocol;

use super::server::REDIS_VERSION;
use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags};
use crate::errors::{self, Error};
use crate::pubsub::ChannelKind;
use crate::session::ReplyMode;
use crate::users::{self, Context};

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec {
        group: "connection",
        ..CommandSpec::new(name, arity, flags.and(Flags::FAST).and(Flags::CONNECTION), since, summary, run)
    }
}

/// Allowed before authentication, and never from a script.
const FIRST: Flags =
    Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);

pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("auth", -2, FIRST, "1.0.0", "Authenticates the connection.", auth),
    row("echo", 2, Flags::LOADING.and(Flags::STALE), "1.0.0", "Returns the given string.", echo),
    row("hello", -1, FIRST, "6.0.0", "Handshakes with the Redis server.", hello),
    row("ping", -1, Flags::SUBSCRIBER, "1.0.0", "Returns the server's liveliness response.", ping),
    row(
        "quit",
        -1,
        FIRST.and(Flags::SUBSCRIBER).and(Flags::IMMEDIATE),
        "1.0.0",
        "Closes the connection.",
        quit,
    ),
    row(
        "reset",
        1,
        FIRST.and(Flags::SUBSCRIBER).and(Flags::IMMEDIATE),
        "6.2.0",
        "Resets the connection.",
        reset,
    ),
    row("select", 2, Flags::LOADING.and(Flags::STALE), "1.0.0", "Changes the selected database.", select),
];

fn ping(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    if args.len() > 2 {
        return Err(errors::arity("ping"));
    }
    let message = args.get(1).copied();
    if call.session().is_subscriber_only() {
        call.reply.array(2);
        call.reply.bulk(b"pong");
        call.reply.bulk(message.unwrap_or_default());
    } else if let Some(message) = message {
        call.reply.bulk(message);
    } else {
        call.reply.status("PONG");
    }
    Ok(Flow::Done)
}

fn echo(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    call.reply.bulk(arg(args, 1));
    Ok(Flow::Done)
}

fn quit(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.reply.ok();
    Ok(Flow::Close)
}

fn select(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let index = integer(arg(args, 1))?;
    let index = usize::try_from(index).ok().filter(|&index| index < call.core.databases.len());
    call.session_mut().database = index.ok_or(errors::DATABASE_OUT_OF_RANGE)?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn auth(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    match from(args, 1) {
        [_] if call.core.users.default_user().has_no_password() => return Err(errors::NO_PASSWORD_SET),
        [password] => check_password(call, arg(args, 0), users::DEFAULT, password)?,
        [user, password] => check_password(call, arg(args, 0), user, password)?,
        _ => return Err(errors::SYNTAX),
    }
    call.reply.ok();
    Ok(Flow::Done)
}

/// Makes the connection one of a user; `command` is what asked for it.
fn check_password(call: &mut Call<'_>, command: &[u8], user: &[u8], password: &[u8]) -> Result<(), Error> {
    if call.core.authenticate(call.by, user, password) {
        return Ok(());
    }
    let context = if call.may_block { Context::Toplevel } else { Context::Multi };
    call.core.log_denial(call.now, call.by, ("auth", context), command, user);
    Err(errors::WRONG_PASS)
}

fn hello(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let protocol = match args.get(1) {
        None => None,
        Some(version) => match cauce_resp::parse_i64(version).ok_or(errors::PROTOCOL_NOT_INTEGER)? {
            2 => Some(Protocol::Resp2),
            3 => Some(Protocol::Resp3),
            _ => return Err(errors::NO_PROTO),
        },
    };
    let mut name = None;
    let mut options = from(args, 2);
    while let [option, rest @ ..] = options {
        options = match rest {
            [user, password, rest @ ..] if is(option, "AUTH") => {
                check_password(call, arg(args, 0), user, password)?;
                rest
            }
            [wanted, rest @ ..] if is(option, "SETNAME") => {
                name = Some(super::client::checked_name(wanted)?);
                rest
            }
            _ => return Err(errors::hello_option(option)),
        };
    }
    if call.core.needs_authentication(call.session()) {
        return Err(errors::HELLO_NO_AUTH);
    }
    if let Some(name) = name {
        call.session_mut().name = name;
    }
    if let Some(protocol) = protocol {
        call.set_protocol(protocol);
    }
    write_greeting(call);
    Ok(Flow::Done)
}

fn write_greeting(call: &mut Call<'_>) {
    let version = match call.reply.protocol() {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let id = call.by.number();
    let reply = &mut call.reply;
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(version);
    reply.bulk(b"id");
    reply.integer(i64::try_from(id).unwrap_or(i64::MAX));
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

/// As if the connection were new, but for its id (Redis 6.2).
fn reset(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let by = call.by;
    call.core.unwatch(by);
    for kind in [ChannelKind::Channel, ChannelKind::Pattern, ChannelKind::Shard] {
        call.core.unsubscribe_all(by, kind);
    }
    let user = std::sync::Arc::clone(call.core.users.default_user());
    let session = call.session_mut();
    session.transaction = None;
    session.database = 0;
    session.name = Box::default();
    session.reply_mode = ReplyMode::On;
    session.no_evict = false;
    session.no_touch = false;
    session.authenticated = user.needs_no_password();
    session.user = user;
    call.set_protocol(Protocol::Resp2);
    call.reply.status("RESET");
    Ok(Flow::Done)
}
