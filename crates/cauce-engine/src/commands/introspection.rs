//! COMMAND: the command table, shown.

use cauce_resp::Encoder;

use super::{arg, from, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error};
use crate::glob;
use crate::users::categories;

const fn row(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec {
        group: "server",
        complexity: "O(N) where N is the number of commands.",
        ..CommandSpec::new(
            name,
            arity,
            Flags::LOADING.and(Flags::STALE).and(Flags::CONNECTION),
            since,
            summary,
            run,
        )
    }
}

pub(crate) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    subcommands: SUBCOMMANDS,
    ..row("command", -1, "2.8.13", "Returns detailed information about all commands.", all)
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    row("command|count", 2, "2.8.13", "Returns a count of commands.", count),
    row(
        "command|docs",
        -2,
        "7.0.0",
        "Returns documentary information about one, multiple or all commands.",
        docs,
    ),
    row("command|getkeys", -3, "2.8.13", "Extracts the key names from an arbitrary command.", getkeys),
    row("command|help", 2, "5.0.0", "Returns helpful text about the different subcommands.", help),
    row("command|info", -2, "2.8.13", "Returns information about one, multiple or all commands.", info),
    row("command|list", -2, "7.0.0", "Returns a list of command names.", list),
];

fn all(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let rows = call.core.table.sorted();
    call.reply.array(rows.len());
    for spec in rows {
        write_info(&mut call.reply, spec);
    }
    Ok(Flow::Done)
}

fn count(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.reply.count(call.core.table.len());
    Ok(Flow::Done)
}

fn info(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let names = from(args, 2);
    if names.is_empty() {
        return all(call, args);
    }
    call.reply.array(names.len());
    for name in names {
        match find(call, name) {
            Some(spec) => write_info(&mut call.reply, spec),
            None => call.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// A row by `name` or `container|subcommand`.
fn find(call: &Call<'_>, name: &[u8]) -> Option<&'static CommandSpec> {
    let mut parts = name.splitn(2, |&byte| byte == b'|');
    let spec = call.core.table.find(parts.next()?)?;
    match parts.next() {
        None => Some(spec),
        Some(sub) => crate::command::CommandTable::find_sub(spec, sub),
    }
}

/// The ten elements of Redis 7.
fn write_info(reply: &mut Encoder<'_>, spec: &CommandSpec) {
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(i64::from(spec.arity));
    let flags: Vec<_> = spec.flags.names().collect();
    reply.set(flags.len());
    for flag in flags {
        reply.status(flag);
    }
    let (first, last, step) = match spec.keys {
        Keys::None | Keys::AfterStreams { .. } | Keys::Counted { .. } => (0, 0, 0),
        Keys::TargetAndCounted { .. } => (1, 1, 1),
        Keys::Channels { last } => (1, last as i64, 1),
        Keys::Range { first, last, step } => (first, last as i64, step),
    };
    reply.count(first);
    reply.integer(last);
    reply.count(step);
    let categories = categories::of(spec);
    reply.set(categories.len());
    for category in categories {
        reply.status(&format!("@{category}"));
    }
    reply.array(0);
    reply.array(0);
    reply.array(spec.subcommands.len());
    for sub in spec.subcommands {
        write_info(reply, sub);
    }
}

fn docs(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let names = from(args, 2);
    let rows = if names.is_empty() {
        call.core.table.sorted()
    } else {
        // Unknown names are left out.
        names.iter().filter_map(|name| find(call, name)).collect()
    };
    write_docs(&mut call.reply, &rows);
    Ok(Flow::Done)
}

fn write_docs<'s>(reply: &mut Encoder<'_>, rows: &[&'s CommandSpec]) {
    reply.map(rows.len());
    for spec in rows {
        reply.bulk(spec.name.as_bytes());
        reply.map(if spec.subcommands.is_empty() { 4 } else { 5 });
        let texts = [
            ("summary", spec.summary),
            ("since", spec.since),
            ("group", spec.group),
            ("complexity", spec.complexity),
        ];
        for (name, text) in texts {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        if !spec.subcommands.is_empty() {
            reply.bulk(b"subcommands");
            let subcommands: Vec<&'s CommandSpec> = spec.subcommands.iter().collect();
            write_docs(reply, &subcommands);
        }
    }
}

fn list(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let rows = call.core.table.sorted();
    let rows = rows.into_iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    let rows: Vec<_> = match from(args, 2) {
        [] => rows.collect(),
        [filter, kind, pattern] if is(filter, "FILTERBY") && is(kind, "PATTERN") => {
            rows.filter(|spec| glob::matches(pattern, spec.name.as_bytes())).collect()
        }
        [filter, kind, category] if is(filter, "FILTERBY") && is(kind, "ACLCAT") => {
            let category = categories::category_named(category);
            let is_in = |spec: &&CommandSpec| category.is_some_and(|name| categories::is_in(spec, name));
            rows.filter(is_in).collect()
        }
        // This broker has no modules.
        [filter, kind, _] if is(filter, "FILTERBY") && is(kind, "MODULE") => Vec::new(),
        _ => return Err(errors::SYNTAX),
    };
    call.reply.array(rows.len());
    for spec in rows {
        call.reply.bulk(spec.name.as_bytes());
    }
    Ok(Flow::Done)
}

fn getkeys(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let command = from(args, 2);
    let spec = call.core.table.find(arg(command, 0)).ok_or(errors::INVALID_COMMAND)?;
    let spec = match command.get(1) {
        Some(sub) if !spec.subcommands.is_empty() => {
            crate::command::CommandTable::find_sub(spec, sub).ok_or(errors::INVALID_COMMAND)?
        }
        _ => spec,
    };
    if matches!(spec.keys, Keys::None | Keys::Channels { .. }) {
        return Err(errors::NO_KEY_ARGUMENTS);
    }
    if !spec.accepts(command.len()) {
        return Err(errors::INVALID_COMMAND_ARGUMENTS);
    }
    let keys = spec.keys.of(command);
    if keys.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(errors::INVALID_KEY_ARGUMENTS);
    }
    call.reply.array(keys.len());
    for key in keys {
        call.reply.bulk(key);
    }
    Ok(Flow::Done)
}

fn help(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    subcommand_help(call, "command", SUBCOMMANDS);
    Ok(Flow::Done)
}

/// `HELP` of a container, made from its rows.
pub(crate) fn subcommand_help(call: &mut Call<'_>, container: &str, rows: &[CommandSpec]) {
    call.reply.array(1 + rows.len() * 2);
    let upper = container.to_uppercase();
    call.reply.status(&format!("{upper} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for spec in rows {
        let name = spec.name.split_once('|').map_or(spec.name, |(_, name)| name);
        call.reply.status(&name.to_uppercase());
        call.reply.status(&format!("    {}", spec.summary));
    }
}
