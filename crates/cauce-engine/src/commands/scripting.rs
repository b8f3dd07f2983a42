//! EVAL and its like, and SCRIPT.

use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::{self, Error, script as texts};
use crate::script::{Interpreter, Request, Sha};

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec {
        group: "scripting",
        complexity: "Depends on the script that is executed.",
        ..CommandSpec::new(name, arity, flags.and(Flags::NOSCRIPT), since, summary, run)
    }
}

const RUNS: Flags =
    Flags::STALE.and(Flags::MOVABLE_KEYS).and(Flags::SKIP_MONITOR).and(Flags::NO_MANDATORY_KEYS);

pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        keys: Keys::Counted { at: 2 },
        ..row("eval", -3, RUNS, "2.6.0", "Executes a server-side Lua script.", |call, args| {
            eval(call, args, false)
        })
    },
    CommandSpec {
        keys: Keys::Counted { at: 2 },
        ..row(
            "evalsha",
            -3,
            RUNS,
            "2.6.0",
            "Executes a server-side Lua script by SHA1 digest.",
            |call, args| evalsha(call, args, false),
        )
    },
    CommandSpec {
        keys: Keys::Counted { at: 2 },
        ..row(
            "eval_ro",
            -3,
            RUNS.and(Flags::READONLY),
            "7.0.0",
            "Executes a read-only server-side Lua script.",
            |call, args| eval(call, args, true),
        )
    },
    CommandSpec {
        keys: Keys::Counted { at: 2 },
        ..row(
            "evalsha_ro",
            -3,
            RUNS.and(Flags::READONLY),
            "7.0.0",
            "Executes a read-only server-side Lua script by SHA1 digest.",
            |call, args| evalsha(call, args, true),
        )
    },
    CommandSpec {
        flags: Flags::NONE,
        subcommands: SUBCOMMANDS,
        ..row(
            "script",
            -2,
            Flags::NONE,
            "2.6.0",
            "A container for Lua scripts management commands.",
            |_, _| Err(errors::arity("script")),
        )
    },
];

const SUBCOMMANDS: &[CommandSpec] = &[
    row(
        "script|debug",
        3,
        Flags::NONE,
        "3.2.0",
        "Sets the debug mode of server-side Lua scripts.",
        |_, _| Err(texts::NO_DEBUGGER),
    ),
    row(
        "script|exists",
        -3,
        Flags::NONE,
        "2.6.0",
        "Determines whether server-side Lua scripts exist in the script cache.",
        exists,
    ),
    row(
        "script|flush",
        -2,
        Flags::NONE,
        "2.6.0",
        "Removes all server-side Lua scripts from the script cache.",
        flush,
    ),
    CommandSpec {
        flags: Flags::LOADING.and(Flags::STALE),
        ..row(
            "script|help",
            2,
            Flags::LOADING.and(Flags::STALE),
            "5.0.0",
            "Returns helpful text about the different subcommands.",
            help,
        )
    },
    row(
        "script|kill",
        2,
        Flags::ALLOW_BUSY,
        "2.6.0",
        "Terminates a server-side Lua script during execution.",
        kill,
    ),
    row("script|load", 3, Flags::STALE, "2.6.0", "Loads a server-side Lua script to the script cache.", load),
];

fn eval(call: &mut Call<'_>, args: &[&[u8]], read_only: bool) -> Result<Flow, Error> {
    let (keys, arguments) = parameters(args)?;
    let text = arg(args, 1);
    let request = Request { sha: Sha::of(text), keys, arguments, read_only };
    with_interpreter(|interpreter| {
        let known = call.core.scripts.text(&request.sha).is_some();
        interpreter.load(request.sha, text)?;
        if !known {
            call.core.scripts.remember(request.sha, text, false);
        }
        interpreter.run(call, &request)
    })?;
    Ok(Flow::Done)
}

fn evalsha(call: &mut Call<'_>, args: &[&[u8]], read_only: bool) -> Result<Flow, Error> {
    // What can't be a digest is told before the numbers are read.
    let sha = Sha::parse(arg(args, 1)).ok_or(texts::NO_SUCH_SCRIPT)?;
    let (keys, arguments) = parameters(args)?;
    let text = call.core.scripts.text(&sha).ok_or(texts::NO_SUCH_SCRIPT)?;
    with_interpreter(|interpreter| {
        interpreter.load(sha, &text)?;
        interpreter.run(call, &Request { sha, keys, arguments, read_only })
    })?;
    Ok(Flow::Done)
}

/// Hands out the thread's interpreter.
fn with_interpreter<T>(use_it: impl FnOnce(&mut Interpreter) -> T) -> T {
    let mut interpreter = Interpreter::take();
    let result = use_it(&mut interpreter);
    interpreter.put_back();
    result
}

/// What a script gets as `KEYS` and as `ARGV`.
type Parameters<'s, 'a> = (&'s [&'a [u8]], &'s [&'a [u8]]);

fn parameters<'s, 'a>(args: &'s [&'a [u8]]) -> Result<Parameters<'s, 'a>, Error> {
    let count = integer(arg(args, 2))?;
    let given = from(args, 3);
    let count = usize::try_from(count).map_err(|_| texts::NEGATIVE_KEYS)?;
    given.split_at_checked(count).ok_or(texts::TOO_MANY_KEYS)
}

fn load(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let text = arg(args, 2);
    let sha = Sha::of(text);
    with_interpreter(|interpreter| interpreter.load(sha, text))?;
    call.core.scripts.remember(sha, text, true);
    call.reply.bulk(sha.as_str().as_bytes());
    Ok(Flow::Done)
}

fn kill(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let running = call.core.scripts.running.as_mut().ok_or(texts::NOT_BUSY)?;
    if running.wrote {
        return Err(texts::UNKILLABLE);
    }
    running.kill_requested = true;
    call.reply.ok();
    Ok(Flow::Done)
}

fn exists(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let names = from(args, 2);
    call.reply.array(names.len());
    for name in names {
        let known = Sha::parse(name).is_some_and(|sha| call.core.scripts.has(&sha));
        call.reply.integer(i64::from(known));
    }
    Ok(Flow::Done)
}

fn flush(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    match from(args, 2) {
        [] => {}
        [mode] if is(mode, "SYNC") || is(mode, "ASYNC") => {}
        _ => return Err(texts::FLUSH_MODE),
    }
    call.core.scripts.flush();
    call.reply.ok();
    Ok(Flow::Done)
}

fn help(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    const LINES: [&str; 16] = [
        "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
        "HELP",
    ];
    call.reply.array(LINES.len() + 1);
    for line in LINES {
        call.reply.status(line);
    }
    call.reply.status("    Prints this help.");
    Ok(Flow::Done)
}
