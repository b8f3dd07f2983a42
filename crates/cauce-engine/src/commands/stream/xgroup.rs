//! `XGROUP CREATE|CREATECONSUMER|DELCONSUMER|DESTROY|SETID|HELP`

use super::options::strict_id;
use super::xreadgroup::create_consumer;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error, stream as texts};
use crate::keyspace::{Object, Slot};
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};
use crate::stream::{Group, Stream, StreamId};

pub(super) const XGROUP: CommandSpec = CommandSpec {
    name: "xgroup",
    arity: -2,
    flags: Flags::NONE,
    keys: Keys::None,
    group: "stream",
    since: "5.0.0",
    summary: "A container for consumer groups commands.",
    complexity: "Depends on subcommand.",
    run: help,
    subcommands: &[
        CommandSpec {
            name: "xgroup|create",
            arity: -5,
            flags: Flags::WRITE.and(Flags::DENYOOM),
            keys: Keys::SECOND,
            summary: "Creates a consumer group.",
            complexity: "O(1)",
            run: create,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xgroup|createconsumer",
            arity: 5,
            flags: Flags::WRITE.and(Flags::DENYOOM),
            keys: Keys::SECOND,
            since: "6.2.0",
            summary: "Creates a consumer in a consumer group.",
            complexity: "O(1)",
            run: createconsumer,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xgroup|delconsumer",
            arity: 5,
            flags: Flags::WRITE,
            keys: Keys::SECOND,
            summary: "Deletes a consumer from a consumer group.",
            complexity: "O(1)",
            run: delconsumer,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xgroup|destroy",
            arity: 4,
            flags: Flags::WRITE,
            keys: Keys::SECOND,
            summary: "Destroys a consumer group.",
            complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
            run: destroy,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xgroup|setid",
            arity: -5,
            flags: Flags::WRITE,
            keys: Keys::SECOND,
            summary: "Sets the last-delivered ID of a consumer group.",
            complexity: "O(1)",
            run: setid,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "xgroup|help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            summary: "Returns helpful text about the different subcommands.",
            complexity: "O(1)",
            run: help,
            ..SUBCOMMAND
        },
    ],
};

const SUBCOMMAND: CommandSpec = CommandSpec {
    name: "",
    arity: 0,
    flags: Flags::NONE,
    keys: Keys::None,
    group: "stream",
    since: "5.0.0",
    summary: "",
    complexity: "",
    run: help,
    subcommands: &[],
};

/// `XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD entries-read]`
fn create(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, group) = (arg(args, 2), arg(args, 3));
    let options = CreateOptions::parse(args, true)?;
    let found = call.find_stream(key)?;
    if found.is_none() && !options.mkstream {
        return Err(texts::GROUP_NEEDS_KEY);
    }
    at_most(args, 8)?;
    let last_delivered_id = cursor(arg(args, 4), found.map(|slot| call.stream(slot)))?;
    let slot = found.unwrap_or_else(|| {
        let slot = call.insert(key, Object::Stream(std::sync::Arc::default()));
        call.record(slot, &Effect::Stream(StreamEffect::Create));
        slot
    });
    let entries_read = options.entries_read;
    let created = call.stream_mut(slot).0.create_group(group, Group::new(last_delivered_id, entries_read));
    if !created {
        return Err(texts::BUSY_GROUP);
    }
    let effect = StreamEffect::CreateGroup { group, last_delivered_id, entries_read };
    call.record(slot, &Effect::Stream(effect));
    call.notify(NotifyClasses::STREAM, "xgroup-create", key);
    call.reply.ok();
    Ok(Flow::Done)
}

/// `XGROUP SETID key group id|$ [ENTRIESREAD entries-read]`
fn setid(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, group) = (arg(args, 2), arg(args, 3));
    let CreateOptions { entries_read, .. } = CreateOptions::parse(args, false)?;
    let slot = find_group(call, key, group)?;
    at_most(args, 7)?;
    let last_delivered_id = cursor(arg(args, 4), Some(call.stream(slot)))?;
    if let Some((group, _)) = call.stream_mut(slot).0.group_mut(group) {
        group.set_last_delivered_id(last_delivered_id, entries_read);
    }
    let effect = StreamEffect::SetGroupId { group, last_delivered_id, entries_read };
    call.record(slot, &Effect::Stream(effect));
    call.notify(NotifyClasses::STREAM, "xgroup-setid", key);
    call.reply.ok();
    Ok(Flow::Done)
}

/// `XGROUP DESTROY key group`
fn destroy(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, group) = (arg(args, 2), arg(args, 3));
    let slot = find_key(call, key)?;
    let destroyed = call.stream_mut(slot).0.destroy_group(group);
    if destroyed {
        call.record(slot, &Effect::Stream(StreamEffect::DestroyGroup { group }));
        call.notify(NotifyClasses::STREAM, "xgroup-destroy", key);
    }
    call.reply.integer(i64::from(destroyed));
    Ok(Flow::Done)
}

/// `XGROUP CREATECONSUMER key group consumer`
fn createconsumer(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, group, consumer) = (arg(args, 2), arg(args, 3), arg(args, 4));
    let slot = find_group(call, key, group)?;
    let is_new = call.stream(slot).group(group).is_some_and(|group| group.consumer_index(consumer).is_none());
    if is_new {
        create_consumer(call, slot, key, group, consumer);
    }
    call.reply.integer(i64::from(is_new));
    Ok(Flow::Done)
}

/// `XGROUP DELCONSUMER key group consumer`: answers how many pending entries were dropped with it.
fn delconsumer(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, group, consumer) = (arg(args, 2), arg(args, 3), arg(args, 4));
    let slot = find_group(call, key, group)?;
    let state = call.stream_mut(slot).0.group_mut(group);
    let dropped = state.and_then(|(state, _)| state.delete_consumer(consumer));
    if dropped.is_some() {
        call.record(slot, &Effect::Stream(StreamEffect::DeleteConsumer { group, consumer }));
        call.notify(NotifyClasses::STREAM, "xgroup-delconsumer", key);
    }
    call.reply.count(dropped.unwrap_or_default());
    Ok(Flow::Done)
}

/// `XGROUP HELP`
fn help(call: &mut Call<'_>, _: &[&[u8]]) -> Result<Flow, Error> {
    const LINES: &[&str] = &[
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
        "HELP",
        "    Prints this help.",
    ];
    call.reply.array(LINES.len());
    LINES.iter().for_each(|line| call.reply.status(line));
    Ok(Flow::Done)
}

/// The options behind the id of CREATE and SETID.
struct CreateOptions {
    mkstream: bool,
    entries_read: Option<u64>,
}

impl CreateOptions {
    /// Reads the options of the subcommand named by `args[1]`.
    fn parse(args: &[&[u8]], of_create: bool) -> Result<Self, Error> {
        let mut options = from(args, 5);
        let mut parsed = Self { mkstream: false, entries_read: None };
        while let [option, rest @ ..] = options {
            options = match rest {
                _ if of_create && is(option, "MKSTREAM") => {
                    parsed.mkstream = true;
                    rest
                }
                [value, rest @ ..] if is(option, "ENTRIESREAD") => {
                    parsed.entries_read = match integer(value)? {
                        -1 => None,
                        read => Some(u64::try_from(read).map_err(|_| texts::ENTRIES_READ)?),
                    };
                    rest
                }
                _ => return Err(errors::subcommand_syntax("xgroup", arg(args, 1))),
            };
        }
        Ok(parsed)
    }
}

/// Options may be repeated only as long as the whole is no longer than each of them once.
fn at_most(args: &[&[u8]], words: usize) -> Result<(), Error> {
    if args.len() > words { Err(errors::subcommand_syntax("xgroup", arg(args, 1))) } else { Ok(()) }
}

/// Where a group begins to read: an id, or `$` for the stream's end.
fn cursor(text: &[u8], stream: Option<&Stream>) -> Result<StreamId, Error> {
    match text {
        b"$" => Ok(stream.map_or(StreamId::MIN, |stream| stream.entries().counters().last_id)),
        _ => strict_id(text),
    }
}

fn find_key(call: &mut Call<'_>, key: &[u8]) -> Result<Slot, Error> {
    call.find_stream(key)?.ok_or(texts::GROUP_NEEDS_KEY)
}

fn find_group(call: &mut Call<'_>, key: &[u8], group: &[u8]) -> Result<Slot, Error> {
    let slot = find_key(call, key)?;
    if call.stream(slot).group(group).is_none() {
        return Err(texts::no_group(key, group));
    }
    Ok(slot)
}
