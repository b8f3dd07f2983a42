//! CONFIG.

use super::from;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags};
use crate::errors::{self, Error};

const fn row(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec {
        group: "server",
        complexity: "O(N) where N is the number of parameters.",
        ..CommandSpec::new(
            name,
            arity,
            Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
            since,
            summary,
            run,
        )
    }
}

pub(crate) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    flags: Flags::NONE,
    subcommands: SUBCOMMANDS,
    ..row("config", -2, "2.0.0", "A container for server configuration commands.", |_, _| {
        Err(errors::arity("config"))
    })
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    row("config|get", -3, "2.0.0", "Returns the effective values of configuration parameters.", get),
    CommandSpec {
        flags: Flags::LOADING.and(Flags::STALE),
        ..row("config|help", 2, "5.0.0", "Returns helpful text about the different subcommands.", help)
    },
    row("config|resetstat", 2, "2.0.0", "Resets the server's statistics.", resetstat),
    row("config|set", -4, "2.0.0", "Sets configuration parameters in-flight.", set),
];

fn get(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let found = call.core.settings.matching(from(args, 2));
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(Flow::Done)
}

fn set(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let pairs = from(args, 2);
    if !pairs.len().is_multiple_of(2) {
        return Err(errors::arity("config|set"));
    }
    let before = call.core.settings.requirepass.clone();
    call.core.settings.change(pairs)?;
    let password = call.core.settings.requirepass.clone();
    if password != before {
        call.core.set_default_password(&password, call.by, call.effects.out);
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn resetstat(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.core.stats = crate::engine::Stats::default();
    call.reply.ok();
    Ok(Flow::Done)
}

fn help(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    super::introspection::subcommand_help(call, "config", SUBCOMMANDS);
    Ok(Flow::Done)
}
