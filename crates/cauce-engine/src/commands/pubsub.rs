//! Publishing and subscribing.

use super::{arg, from};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error};
use crate::glob;
use crate::pubsub::ChannelKind;

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec {
        group: "pubsub",
        complexity: "O(N) where N is the number of names or receivers.",
        ..CommandSpec::new(
            name,
            arity,
            flags.and(Flags::PUBSUB).and(Flags::LOADING).and(Flags::STALE),
            since,
            summary,
            run,
        )
    }
}

/// A subscription command: allowed while subscribed, never from a script.
const LISTEN: Flags = Flags::NOSCRIPT.and(Flags::SUBSCRIBER);

pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("publish", 3, Flags::FAST, "2.0.0", "Posts a message to a channel.", publish),
    CommandSpec {
        keys: Keys::Channels { last: 1 },
        ..row("spublish", 3, Flags::FAST, "7.0.0", "Post a message to a shard channel", spublish)
    },
    row("subscribe", -2, LISTEN, "2.0.0", "Listens for messages published to channels.", |call, args| {
        subscribe(call, args, ChannelKind::Channel)
    }),
    row(
        "psubscribe",
        -2,
        LISTEN,
        "2.0.0",
        "Listens for messages published to channels that match one or more patterns.",
        |call, args| subscribe(call, args, ChannelKind::Pattern),
    ),
    CommandSpec {
        keys: Keys::Channels { last: -1 },
        ..row(
            "ssubscribe",
            -2,
            LISTEN,
            "7.0.0",
            "Listens for messages published to shard channels.",
            |call, args| subscribe(call, args, ChannelKind::Shard),
        )
    },
    row(
        "unsubscribe",
        -1,
        LISTEN,
        "2.0.0",
        "Stops listening to messages posted to channels.",
        |call, args| unsubscribe(call, args, ChannelKind::Channel),
    ),
    row(
        "punsubscribe",
        -1,
        LISTEN,
        "2.0.0",
        "Stops listening to messages published to channels that match one or more patterns.",
        |call, args| unsubscribe(call, args, ChannelKind::Pattern),
    ),
    CommandSpec {
        keys: Keys::Channels { last: -1 },
        ..row(
            "sunsubscribe",
            -1,
            LISTEN,
            "7.0.0",
            "Stops listening to messages posted to shard channels.",
            |call, args| unsubscribe(call, args, ChannelKind::Shard),
        )
    },
    CommandSpec {
        flags: Flags::NONE,
        subcommands: PUBSUB,
        ..row("pubsub", -2, Flags::NONE, "2.8.0", "A container for Pub/Sub commands.", no_subcommand)
    },
];

const PUBSUB: &[CommandSpec] = &[
    row("pubsub|channels", -2, Flags::NONE, "2.8.0", "Returns the active channels.", |call, args| {
        active(call, args, ChannelKind::Channel)
    }),
    CommandSpec {
        flags: Flags::LOADING.and(Flags::STALE),
        ..row(
            "pubsub|help",
            2,
            Flags::NONE,
            "6.2.0",
            "Returns helpful text about the different subcommands.",
            help,
        )
    },
    row("pubsub|numpat", 2, Flags::NONE, "2.8.0", "Returns a count of unique pattern subscriptions.", numpat),
    row(
        "pubsub|numsub",
        -2,
        Flags::NONE,
        "2.8.0",
        "Returns a count of subscribers to channels.",
        |call, args| numsub(call, args, ChannelKind::Channel),
    ),
    row(
        "pubsub|shardchannels",
        -2,
        Flags::NONE,
        "7.0.0",
        "Returns the active shard channels.",
        |call, args| active(call, args, ChannelKind::Shard),
    ),
    row(
        "pubsub|shardnumsub",
        -2,
        Flags::NONE,
        "7.0.0",
        "Returns the count of subscribers of shard channels.",
        |call, args| numsub(call, args, ChannelKind::Shard),
    ),
];

fn no_subcommand(_call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    Err(errors::arity(&String::from_utf8_lossy(arg(args, 0)).to_lowercase()))
}

fn publish(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let receivers = call.publish(arg(args, 1), arg(args, 2));
    call.reply.count(receivers);
    Ok(Flow::Done)
}

fn spublish(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let receivers = call.publish_shard(arg(args, 1), arg(args, 2));
    call.reply.count(receivers);
    Ok(Flow::Done)
}

fn subscribe(call: &mut Call<'_>, args: &[&[u8]], kind: ChannelKind) -> Result<Flow, Error> {
    if kind == ChannelKind::Shard && !call.may_block {
        return Err(errors::SSUBSCRIBE_DENIED);
    }
    let limit = call.core.settings.subscriptions_max;
    if call.session().subscriptions() + from(args, 1).len() > limit {
        return Err(errors::TOO_MANY_SUBSCRIPTIONS);
    }
    let by = call.by;
    for &name in from(args, 1) {
        if call.session_mut().names_mut(kind).insert(name.into()) {
            call.core.subscriptions.add(kind, name, by);
        }
        confirm(call, kind.subscribe_word(), Some(name), kind);
    }
    Ok(Flow::Done)
}

fn unsubscribe(call: &mut Call<'_>, args: &[&[u8]], kind: ChannelKind) -> Result<Flow, Error> {
    let by = call.by;
    let word = kind.unsubscribe_word();
    let names: Vec<Box<[u8]>> = match from(args, 1) {
        [] => call.session().names(kind).iter().cloned().collect(),
        names => names.iter().map(|&name| name.into()).collect(),
    };
    for name in &names {
        if call.session_mut().names_mut(kind).remove(name) {
            call.core.subscriptions.remove(kind, name, by);
        }
        confirm(call, word, Some(name), kind);
    }
    if names.is_empty() {
        confirm(call, word, None, kind);
    }
    Ok(Flow::Done)
}

/// One frame per name, with the number of subscriptions left; shard channels are counted apart.
fn confirm(call: &mut Call<'_>, word: &str, name: Option<&[u8]>, kind: ChannelKind) {
    let session = call.core.session(call.by);
    let count = match kind {
        ChannelKind::Channel | ChannelKind::Pattern => session.channels.len() + session.patterns.len(),
        ChannelKind::Shard => session.shard_channels.len(),
    };
    call.reply.push(3);
    call.reply.bulk(word.as_bytes());
    match name {
        Some(name) => call.reply.bulk(name),
        None => call.reply.null(),
    }
    call.reply.count(count);
}

fn active(call: &mut Call<'_>, args: &[&[u8]], kind: ChannelKind) -> Result<Flow, Error> {
    if args.len() > 3 {
        return Err(errors::subcommand_arguments("PUBSUB", arg(args, 1)));
    }
    let pattern = args.get(2).copied();
    let mut names = call.core.subscriptions.names(kind);
    names.retain(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)));
    call.reply.array(names.len());
    for name in names {
        call.reply.bulk(name);
    }
    Ok(Flow::Done)
}

fn numsub(call: &mut Call<'_>, args: &[&[u8]], kind: ChannelKind) -> Result<Flow, Error> {
    let names = from(args, 2);
    call.reply.array(names.len() * 2);
    for name in names {
        call.reply.bulk(name);
        call.reply.count(call.core.subscriptions.of(kind, name).len());
    }
    Ok(Flow::Done)
}

fn numpat(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.reply.count(call.core.subscriptions.pattern_count());
    Ok(Flow::Done)
}

fn help(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    super::introspection::subcommand_help(call, "pubsub", PUBSUB);
    Ok(Flow::Done)
}
