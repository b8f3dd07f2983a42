//! ACL: users and what they may do.

use cauce_resp::Encoder;
use sha2::{Digest, Sha256};

use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, CommandTable, Flags};
use crate::errors::{self, Error, acl as texts};
use crate::users::{self, Denial, Selector, User, categories};

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec {
        group: "server",
        complexity: "O(N) where N is the number of users or rules.",
        ..CommandSpec::new(name, arity, flags.and(Flags::LOADING).and(Flags::STALE), "6.0.0", summary, run)
    }
}

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT);

pub(crate) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    flags: Flags::NONE,
    subcommands: SUBCOMMANDS,
    ..row("acl", -2, Flags::NONE, "A container for Access List Control commands.", |_, _| {
        Err(errors::arity("acl"))
    })
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    row("acl|cat", -2, Flags::NOSCRIPT, "Lists the ACL categories, or the commands inside a category.", cat),
    row("acl|deluser", -3, ADMIN, "Deletes ACL users, and terminates their connections.", deluser),
    CommandSpec {
        since: "7.0.0",
        ..row("acl|dryrun", -4, ADMIN, "Simulates the execution of a command by a user.", dryrun)
    },
    row("acl|genpass", -2, Flags::NOSCRIPT, "Generates a pseudorandom, secure password.", genpass),
    row("acl|getuser", 3, ADMIN, "Lists the ACL rules of a user.", getuser),
    row("acl|help", 2, Flags::NONE, "Returns helpful text about the different subcommands.", help),
    row("acl|list", 2, ADMIN, "Dumps the effective rules in ACL file format.", list),
    row("acl|load", 2, ADMIN, "Reloads the rules from the configured ACL file.", no_file),
    row("acl|log", -2, ADMIN, "Lists recent security events.", log),
    row("acl|save", 2, ADMIN, "Saves the effective ACL rules in the configured ACL file.", no_file),
    row("acl|setuser", -3, ADMIN, "Creates and modifies an ACL user and its rules.", setuser),
    row("acl|users", 2, ADMIN, "Lists all ACL users.", users),
    row("acl|whoami", 2, Flags::NOSCRIPT, "Returns the authenticated username of the connection.", whoami),
];

fn cat(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let names: Vec<&str> = match from(args, 2) {
        [] => categories::CATEGORIES.to_vec(),
        [name] => {
            let category = categories::category_named(name).ok_or_else(|| texts::unknown_category(name))?;
            let rows = users::rows(&call.core.table).filter(|spec| categories::is_in(spec, category));
            rows.map(|spec| spec.name).collect()
        }
        _ => return Err(errors::subcommand_syntax("acl", arg(args, 1))),
    };
    write_names(&mut call.reply, names.iter().map(|name| name.as_bytes()));
    Ok(Flow::Done)
}

fn write_names<'a>(reply: &mut Encoder<'_>, names: impl ExactSizeIterator<Item = &'a [u8]>) {
    reply.array(names.len());
    names.for_each(|name| reply.bulk(name));
}

fn setuser(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let name = arg(args, 2);
    if name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return Err(texts::USER_NAME);
    }
    let rules = users::merge_selectors(from(args, 3))?;
    let mut user = match call.core.users.get(name) {
        Some(user) => User::clone(user),
        None => User::new(name),
    };
    for rule in &rules {
        user.apply(rule, &call.core.table)?;
    }
    let closes = call.core.put_user(user, call.by, call.effects.out);
    call.reply.ok();
    Ok(if closes { Flow::Close } else { Flow::Done })
}

fn deluser(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let names = from(args, 2);
    if names.contains(&users::DEFAULT) {
        return Err(texts::DEFAULT_STAYS);
    }
    let (mut deleted, mut closes) = (0, false);
    for name in names {
        if let Some(own) = call.core.remove_user(name, call.by, call.effects.out) {
            deleted += 1;
            closes |= own;
        }
    }
    call.reply.count(deleted);
    Ok(if closes { Flow::Close } else { Flow::Done })
}

fn getuser(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let Some(user) = call.core.users.get(arg(args, 2)) else {
        call.reply.null();
        return Ok(Flow::Done);
    };
    let reply = &mut call.reply;
    reply.map(6);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().for_each(|hash| reply.bulk(hash.as_bytes()));
    write_selector(reply, user.root());
    reply.bulk(b"selectors");
    reply.array(user.more_selectors().len());
    for selector in user.more_selectors() {
        reply.map(3);
        write_selector(reply, selector);
    }
    Ok(Flow::Done)
}

/// Three pairs.
fn write_selector(reply: &mut Encoder<'_>, selector: &Selector) {
    reply.bulk(b"commands");
    reply.bulk(selector.command_rules().as_bytes());
    reply.bulk(b"keys");
    reply.bulk(&selector.key_rules());
    reply.bulk(b"channels");
    reply.bulk(&selector.channel_rules());
}

fn list(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let lines: Vec<Vec<u8>> = call.core.users.iter().map(|user| user.describe()).collect();
    write_names(&mut call.reply, lines.iter().map(Vec::as_slice));
    Ok(Flow::Done)
}

fn users(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    write_names(&mut call.reply, call.core.users.iter().map(|user| user.name()));
    Ok(Flow::Done)
}

fn whoami(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let user = std::sync::Arc::clone(&call.session().user);
    call.reply.bulk(user.name());
    Ok(Flow::Done)
}

/// There is no ACL file here.
fn no_file(_call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    Err(texts::NO_FILE)
}

fn genpass(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    const BITS_MAX: i64 = 4096;
    let bits = match from(args, 2) {
        [] => 256,
        [bits] => integer(bits)?,
        _ => return Err(errors::subcommand_syntax("acl", arg(args, 1))),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(texts::GENPASS_BITS);
    }
    let digits = usize::try_from(bits).unwrap_or_default().div_ceil(4);
    let mut password = String::new();
    while password.len() < digits {
        call.core.passwords_made += 1;
        let mut hash = Sha256::new();
        hash.update(call.core.settings.secret);
        hash.update(call.core.passwords_made.to_le_bytes());
        password.extend(hash.finalize().iter().map(|byte| format!("{byte:02x}")));
    }
    password.truncate(digits);
    call.reply.bulk(password.as_bytes());
    Ok(Flow::Done)
}

fn dryrun(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (name, command) = (arg(args, 2), from(args, 3));
    let user = call.core.users.get(name).ok_or_else(|| texts::no_such_user(name))?;
    let unknown = || texts::no_such_command(arg(command, 0));
    let spec = call.core.table.find(arg(command, 0)).ok_or_else(unknown)?;
    let spec = match command.get(1) {
        Some(sub) if !spec.subcommands.is_empty() => CommandTable::find_sub(spec, sub).ok_or_else(unknown)?,
        _ => spec,
    };
    if !spec.accepts(command.len()) {
        return Err(errors::arity(spec.name));
    }
    match user.check(spec, command) {
        Ok(()) => call.reply.ok(),
        Err(denied) => call.reply.bulk(texts::would_be_denied(name, denied).as_bytes()),
    }
    Ok(Flow::Done)
}

/// Denials shown when no count is given.
const LOG_COUNT_DEFAULT: usize = 10;

fn log(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let count = match from(args, 2) {
        [] => LOG_COUNT_DEFAULT,
        [word] if is(word, "RESET") => {
            call.core.denials.clear();
            call.reply.ok();
            return Ok(Flow::Done);
        }
        [count] => usize::try_from(integer(count)?).unwrap_or_default(),
        _ => return Err(errors::subcommand_syntax("acl", arg(args, 1))),
    };
    let denials: Vec<&Denial> = call.core.denials.iter().take(count).collect();
    call.reply.array(denials.len());
    for denial in denials {
        write_denial(&mut call.reply, denial, call.now.since(denial.created).as_secs_f64());
    }
    Ok(Flow::Done)
}

fn write_denial(reply: &mut Encoder<'_>, denial: &Denial, age_s: f64) {
    reply.map(10);
    reply.bulk(b"count");
    reply.integer(denial.count.cast_signed());
    for (name, value) in [
        ("reason", denial.reason.as_bytes()),
        ("context", denial.context.name().as_bytes()),
        ("object", &denial.object),
        ("username", &denial.user),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(value);
    }
    reply.bulk(b"age-seconds");
    reply.double(age_s);
    reply.bulk(b"client-info");
    reply.bulk(denial.client.as_bytes());
    for (name, value) in [
        ("entry-id", denial.id),
        ("timestamp-created", denial.created.millis()),
        ("timestamp-last-updated", denial.updated.millis()),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(value.cast_signed());
    }
}

fn help(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    const LINES: &[&str] = &[
        "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CAT [<category>]",
        "    List all commands that belong to <category>, or all command categories",
        "    when no category is specified.",
        "DELUSER <username> [<username> ...]",
        "    Delete a list of users.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Returns whether the user can execute the given command without executing the command.",
        "GETUSER <username>",
        "    Get the user's details.",
        "GENPASS [<bits>]",
        "    Generate a secure 256-bit user password. The optional `bits` argument can",
        "    be used to specify a different size.",
        "LIST",
        "    Show users details in config file format.",
        "LOAD",
        "    Reload users from the ACL file.",
        "LOG [<count> | RESET]",
        "    Show the ACL log entries.",
        "SAVE",
        "    Save the current config to the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Create or modify a user with the specified attributes.",
        "USERS",
        "    List all the registered usernames.",
        "WHOAMI",
        "    Return the current connection username.",
        "HELP",
        "    Prints this help.",
    ];
    call.reply.array(LINES.len());
    LINES.iter().for_each(|line| call.reply.status(line));
    Ok(Flow::Done)
}
