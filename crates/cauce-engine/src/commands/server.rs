//! The server as a whole: INFO, TIME, DBSIZE, FLUSHDB, FLUSHALL.

use std::fmt::Write;
use std::time::Duration;

use super::{arg, from, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags};
use crate::engine::Core;
use crate::errors::{self, Error};
use crate::records::Effect;
use crate::time::Timestamp;

/// The Redis version whose behaviour this broker has.
pub(crate) const REDIS_VERSION: &str = "7.2.4";
/// The same as `0xMMmmpp`.
pub(crate) const REDIS_VERSION_NUMBER: u32 = 0x0007_0204;

/// By how much TIME may be ahead of the clock; if it is more, the clock was set back.
const TIME_AHEAD_MAX: Duration = Duration::from_secs(1);

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    run: crate::command::Handler,
) -> CommandSpec {
    CommandSpec { group: "server", ..CommandSpec::new(name, arity, flags, since, summary, run) }
}

pub(crate) const COMMANDS: &[CommandSpec] = &[
    row(
        "info",
        -1,
        Flags::LOADING.and(Flags::STALE),
        "1.0.0",
        "Returns information and statistics about the server.",
        info,
    ),
    row(
        "time",
        1,
        Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        "2.6.0",
        "Returns the server time.",
        time,
    ),
    row(
        "dbsize",
        1,
        Flags::READONLY.and(Flags::FAST),
        "1.0.0",
        "Returns the number of keys in the database.",
        dbsize,
    ),
    row("flushdb", -1, Flags::WRITE, "1.0.0", "Removes all keys from the current database.", flushdb),
    CommandSpec {
        subcommands: FUNCTION,
        ..row("function", -2, Flags::NONE, "7.0.0", "A container for function commands.", |_, _| {
            Err(errors::arity("function"))
        })
    },
    row("flushall", -1, Flags::WRITE, "1.0.0", "Removes all keys from all databases.", flushall),
    row(
        "shutdown",
        -1,
        Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::NO_MULTI)
            .and(Flags::ALLOW_BUSY),
        "1.0.0",
        "Synchronously saves the database(s) to disk and shuts down the Redis server.",
        shutdown,
    ),
];

/// No functions can be loaded here; clients that clear a server before they use it ask for these two.
const FUNCTION: &[CommandSpec] = &[
    row(
        "function|flush",
        -2,
        Flags::WRITE.and(Flags::NOSCRIPT),
        "7.0.0",
        "Deletes all libraries and functions.",
        function_flush,
    ),
    row(
        "function|list",
        -2,
        Flags::NOSCRIPT,
        "7.0.0",
        "Returns information about all libraries.",
        function_list,
    ),
];

fn function_flush(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    check_flush_mode(from(args, 1))?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn function_list(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.reply.array(0);
    Ok(Flow::Done)
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`. Nothing waits for replicas here, so NOW and FORCE say nothing
/// and there is never a shutdown to abort.
fn shutdown(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (mut saves, mut keeps, mut aborts) = (false, false, false);
    for option in from(args, 1) {
        match () {
            () if is(option, "NOSAVE") => keeps = true,
            () if is(option, "SAVE") => saves = true,
            () if is(option, "ABORT") => aborts = true,
            () if is(option, "NOW") || is(option, "FORCE") => {}
            () => return Err(errors::SYNTAX),
        }
    }
    if (aborts && args.len() > 2) || (saves && keeps) {
        return Err(errors::SYNTAX);
    }
    if aborts {
        return Err(errors::NO_SHUTDOWN);
    }
    // While a script runs nothing can be saved.
    if call.core.scripts.running.is_some() && !keeps {
        return Err(errors::script::BUSY);
    }
    Ok(Flow::Shutdown)
}

fn time(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let now = tell_time(call);
    call.reply.array(2);
    call.reply.bulk_unsigned(now.seconds());
    call.reply.bulk_unsigned(now.micros() % 1_000_000);
    Ok(Flow::Done)
}

/// A batch of commands has one time. Told as it is, it would be the same for all that ask within the batch, and programs that number
/// by it, as RSMQ numbers messages, would lose their order: who asks later is told more.
pub(super) fn tell_time(call: &mut Call<'_>) -> Timestamp {
    const MICROSECOND: Duration = Duration::from_micros(1);
    let told = call.core.told_time;
    let is_ahead = call.now <= told && told.since(call.now) < TIME_AHEAD_MAX;
    let now = if is_ahead { told.saturating_add(MICROSECOND) } else { call.now };
    call.core.told_time = now;
    now
}

fn dbsize(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let database = call.core.database(call.db);
    call.effects.after = call.effects.after.max(database.changed_at);
    call.reply.count(database.len());
    Ok(Flow::Done)
}

fn flushdb(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    check_flush_mode(args)?;
    flush(call);
    call.reply.ok();
    Ok(Flow::Done)
}

fn flushall(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    check_flush_mode(args)?;
    let here = call.db;
    for database in 0..call.core.databases.len() {
        call.db = database;
        flush(call);
    }
    call.db = here;
    call.reply.ok();
    Ok(Flow::Done)
}

fn check_flush_mode(args: &[&[u8]]) -> Result<(), Error> {
    match from(args, 1) {
        [] => Ok(()),
        [mode] if is(mode, "SYNC") || is(mode, "ASYNC") => Ok(()),
        _ => Err(errors::SYNTAX),
    }
}

/// Empties the current database.
fn flush(call: &mut Call<'_>) {
    let db = call.db;
    if call.database().len() == 0 {
        return;
    }
    let position = call.core.position.advance();
    call.effects.after = position;
    let Core { databases, watchers, sessions, waiters, .. } = &mut *call.core;
    let database = databases.get_mut(db).expect("a session's database exists");
    for key in watchers.keys_of(db).filter(|key| database.slot(key).is_some()) {
        watchers.break_key(db, key, sessions);
    }
    database.clear();
    database.changed_at = position;
    database.removed_at = position;
    waiters.signal_all(db);
    call.core.touched.note_key(db, b"", &Effect::Flush);
    call.effects.out.records.push(db, b"", &Effect::Flush);
}

/// Sections in Redis's order. Unknown ones are left out, as Redis does.
fn info(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    type Section = fn(&Core, Timestamp, &mut String) -> std::fmt::Result;
    const SECTIONS: [(&str, Section); 9] = [
        ("server", info_server),
        ("clients", info_clients),
        ("memory", info_memory),
        ("persistence", info_persistence),
        ("stats", info_stats),
        ("replication", info_replication),
        ("cpu", |_, _, out| write!(out, "# CPU\r\n")),
        ("cluster", |_, _, out| write!(out, "# Cluster\r\ncluster_enabled:0\r\n")),
        ("keyspace", info_keyspace),
    ];
    let asked = from(args, 1);
    let everything =
        asked.iter().any(|name| is(name, "all") || is(name, "everything") || is(name, "default"));
    let mut text = String::new();
    for (name, section) in SECTIONS {
        if asked.is_empty() || everything || asked.iter().any(|wanted| is(wanted, name)) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            section(call.core, call.now, &mut text).expect("writing to a string succeeds");
        }
    }
    debug_assert!(is(arg(args, 0), "info"), "only INFO ends here");
    call.reply.verbatim(&text);
    Ok(Flow::Done)
}

fn info_server(core: &Core, now: Timestamp, out: &mut String) -> std::fmt::Result {
    let facts = &core.settings.facts;
    let uptime = now.since(core.started_at.unwrap_or(now)).as_secs();
    write!(out, "# Server\r\nredis_version:{REDIS_VERSION}\r\ncauce_version:{}\r\n", facts.version)?;
    write!(out, "server_name:cauce\r\nredis_mode:standalone\r\nos:{}\r\n", std::env::consts::OS)?;
    write!(out, "arch_bits:{}\r\nprocess_id:{}\r\n", usize::BITS, facts.process_id)?;
    write!(out, "run_id:{}\r\ntcp_port:{}\r\n", facts.run_id, facts.port)?;
    write!(out, "server_time_usec:{}\r\nuptime_in_seconds:{uptime}\r\n", now.micros())?;
    write!(out, "uptime_in_days:{}\r\n", uptime / 86_400)
}

fn info_clients(core: &Core, _now: Timestamp, out: &mut String) -> std::fmt::Result {
    let subscribers = core.sessions.values().filter(|session| session.subscriptions() > 0).count();
    write!(out, "# Clients\r\nconnected_clients:{}\r\n", core.sessions.len())?;
    write!(
        out,
        "maxclients:{}\r\nblocked_clients:{}\r\n",
        core.settings.facts.maxclients,
        core.waiters.len()
    )?;
    write!(out, "pubsub_clients:{subscribers}\r\n")
}

fn info_memory(core: &Core, _now: Timestamp, out: &mut String) -> std::fmt::Result {
    let used = core.gauges.memory_bytes;
    write!(out, "# Memory\r\nused_memory:{used}\r\nused_memory_rss:{used}\r\n")?;
    write!(out, "maxmemory:{}\r\nmaxmemory_policy:noeviction\r\n", core.settings.maxmemory)?;
    write!(out, "number_of_cached_scripts:{}\r\n", core.scripts.len())
}

/// Redis's fields for its append-only file, as far as the log has something like it, and the log's own.
fn info_persistence(core: &Core, _now: Timestamp, out: &mut String) -> std::fmt::Result {
    let (facts, log) = (&core.settings.facts, core.log_gauges);
    let failed = !facts.log_failure.is_empty();
    let (status, health) = match (failed, core.gauges.log_full) {
        (true, _) => ("err", "failed"),
        (false, true) => ("err", "full"),
        (false, false) => ("ok", "ok"),
    };
    write!(
        out,
        "# Persistence\r\nloading:0\r\nrdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:0\r\n"
    )?;
    write!(out, "aof_enabled:{}\r\naof_rewrite_in_progress:0\r\n", u8::from(facts.appendonly))?;
    write!(out, "aof_last_write_status:{status}\r\n")?;
    let blocks = &core.block_memory;
    if facts.appendonly {
        write!(out, "cauce_block_memory_bytes:{}\r\n", blocks.bytes())?;
        write!(out, "cauce_block_memory_limit:{}\r\n", core.settings.stream_memory)?;
        write!(out, "cauce_blocks_on_disk:{}\r\n", log.blocks_on_disk)?;
        write!(out, "cauce_block_disk_bytes:{}\r\n", log.block_disk_bytes)?;
        write!(
            out,
            "cauce_block_reads:{}\r\ncauce_block_read_bytes:{}\r\n",
            blocks.reads, blocks.read_bytes
        )?;
        write!(out, "cauce_block_read_errors:{}\r\n", blocks.failures)?;
        write!(out, "aof_current_size:{}\r\naof_buffer_length:{}\r\n", log.disk_bytes, log.waiting_bytes)?;
        write!(out, "cauce_log_records:{}\r\ncauce_log_synced:{}\r\n", log.appended, log.synced)?;
        write!(out, "cauce_log_segments:{}\r\ncauce_log_syncs:{}\r\n", log.segments, log.syncs)?;
        write!(out, "cauce_log_last_sync_usec:{}\r\n", log.last_sync_micros)?;
        write!(out, "cauce_log_slow_syncs:{}\r\ncauce_log_health:{health}\r\n", log.slow_syncs)?;
        if failed {
            write!(out, "cauce_log_failure:{}\r\n", facts.log_failure)?;
        }
    }
    Ok(())
}

fn info_stats(core: &Core, _now: Timestamp, out: &mut String) -> std::fmt::Result {
    let (stats, gauges) = (&core.stats, core.gauges);
    write!(out, "# Stats\r\ntotal_connections_received:{}\r\n", stats.connections)?;
    write!(out, "total_commands_processed:{}\r\ntotal_error_replies:{}\r\n", stats.commands, stats.errors)?;
    write!(out, "total_net_input_bytes:{}\r\n", gauges.received_bytes)?;
    write!(out, "total_net_output_bytes:{}\r\n", gauges.sent_bytes)?;
    write!(out, "rejected_connections:{}\r\n", gauges.rejected_connections)?;
    write!(out, "expired_keys:{}\r\n", stats.expired_keys)?;
    let channels = core.subscriptions.names(crate::pubsub::ChannelKind::Channel).len();
    write!(out, "pubsub_channels:{channels}\r\npubsub_patterns:{}\r\n", core.subscriptions.pattern_count())
}

fn info_replication(_core: &Core, _now: Timestamp, out: &mut String) -> std::fmt::Result {
    write!(out, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n")
}

fn info_keyspace(core: &Core, _now: Timestamp, out: &mut String) -> std::fmt::Result {
    write!(out, "# Keyspace\r\n")?;
    for (index, database) in core.databases.iter().enumerate().filter(|(_, database)| database.len() > 0) {
        let (keys, expires) = (database.len(), database.expiring());
        write!(out, "db{index}:keys={keys},expires={expires},avg_ttl=0\r\n")?;
    }
    Ok(())
}
