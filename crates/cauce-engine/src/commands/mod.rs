//! The commands, by family. Each family is a table of rows and the handlers that they name.

mod acl;
mod client;
mod config;
mod connection;
mod expiry;
mod hashes;
mod introspection;
mod keys;
mod numbers;
mod object;
mod pubsub;
mod queue;
mod replication;
mod scan;
mod scripting;
mod server;
mod set_algebra;
mod sets;
mod sorted_set;
mod stream;
mod strings;
mod transactions;
mod transfer;

pub(crate) use queue::SEND_CHANNEL_AT;
pub(crate) use server::{REDIS_VERSION, REDIS_VERSION_NUMBER};

use crate::command::CommandSpec;
use crate::errors::{self, Error};

pub(crate) use client::describe as describe_client;

/// All rows.
pub(crate) const FAMILIES: &[&[CommandSpec]] = &[
    acl::COMMANDS,
    client::COMMANDS,
    config::COMMANDS,
    connection::COMMANDS,
    expiry::COMMANDS,
    hashes::COMMANDS,
    introspection::COMMANDS,
    keys::COMMANDS,
    object::COMMANDS,
    pubsub::COMMANDS,
    queue::COMMANDS,
    replication::COMMANDS,
    scripting::COMMANDS,
    server::COMMANDS,
    set_algebra::COMMANDS,
    sets::COMMANDS,
    sorted_set::COMMANDS,
    stream::COMMANDS,
    strings::COMMANDS,
    transactions::COMMANDS,
    transfer::COMMANDS,
];

/// Whether an argument is this word, in any case.
pub(crate) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// An argument as an integer.
pub(crate) fn integer(arg: &[u8]) -> Result<i64, Error> {
    cauce_resp::parse_i64(arg).ok_or(errors::NOT_INTEGER)
}

/// An argument that the command's arity guarantees.
pub(crate) fn arg<'a>(args: &[&'a [u8]], at: usize) -> &'a [u8] {
    args.get(at).copied().unwrap_or_default()
}

/// The arguments from a position on.
pub(crate) fn from<'s, 'a>(args: &'s [&'a [u8]], at: usize) -> &'s [&'a [u8]] {
    args.get(at..).unwrap_or_default()
}
