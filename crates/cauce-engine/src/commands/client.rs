//! CLIENT: connections, seen from the inside.

use std::fmt::Write;

use cauce_resp::Protocol;

use super::{arg, from, integer, is};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags};
use crate::errors::{self, Error};
use crate::outputs::{DeliveryKind, Position};
use crate::session::{ReplyMode, Session, SessionId};
use crate::time::Timestamp;

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
        complexity: "O(N) where N is the number of client connections.",
        ..CommandSpec::new(
            name,
            arity,
            flags.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::CONNECTION),
            since,
            summary,
            run,
        )
    }
}

pub(crate) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    flags: Flags::NONE,
    subcommands: SUBCOMMANDS,
    ..row("client", -2, Flags::NONE, "2.4.0", "A container for client connection commands.", |_, _| {
        Err(errors::arity("client"))
    })
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    row("client|getname", 2, Flags::NONE, "2.6.9", "Returns the name of the connection.", getname),
    row(
        "client|getredir",
        2,
        Flags::NONE,
        "6.0.0",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
        getredir,
    ),
    CommandSpec {
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::CONNECTION),
        ..row(
            "client|help",
            2,
            Flags::NONE,
            "5.0.0",
            "Returns helpful text about the different subcommands.",
            help,
        )
    },
    row("client|id", 2, Flags::NONE, "5.0.0", "Returns the unique client ID of the connection.", id),
    row("client|info", 2, Flags::NONE, "6.2.0", "Returns information about the connection.", info),
    row("client|kill", -3, Flags::ADMIN, "2.4.0", "Terminates open connections.", kill),
    row("client|list", -2, Flags::ADMIN, "2.4.0", "Lists open connections.", list),
    row(
        "client|no-evict",
        3,
        Flags::ADMIN,
        "7.0.0",
        "Sets the client eviction mode of the connection.",
        no_evict,
    ),
    row(
        "client|no-touch",
        3,
        Flags::NONE,
        "7.2.0",
        "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        no_touch,
    ),
    row("client|reply", 3, Flags::NONE, "3.2.0", "Instructs the server whether to reply to commands.", reply),
    row(
        "client|setinfo",
        4,
        Flags::NONE,
        "7.2.0",
        "Sets information specific to the client or connection.",
        setinfo,
    ),
    row("client|setname", 3, Flags::NONE, "2.6.9", "Sets the connection name.", setname),
    row(
        "client|unblock",
        -3,
        Flags::ADMIN,
        "5.0.0",
        "Unblocks a client blocked by a blocking command from a different connection.",
        unblock,
    ),
];

fn id(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.reply.integer(shown(call.by));
    Ok(Flow::Done)
}

fn shown(id: SessionId) -> i64 {
    i64::try_from(id.number()).unwrap_or(i64::MAX)
}

fn getname(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let name = call.session().name.clone();
    if name.is_empty() {
        call.reply.null();
    } else {
        call.reply.bulk(&name);
    }
    Ok(Flow::Done)
}

fn setname(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    call.session_mut().name = checked_name(arg(args, 2))?;
    call.reply.ok();
    Ok(Flow::Done)
}

/// Names are shown in `CLIENT LIST`, where spaces separate.
pub(crate) fn checked_name(name: &[u8]) -> Result<Box<[u8]>, Error> {
    if is_plain(name) { Ok(name.into()) } else { Err(errors::CLIENT_NAME) }
}

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn setinfo(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (attribute, value) = (arg(args, 2), arg(args, 3));
    let session = call.session_mut();
    let (place, name) = match () {
        () if is(attribute, "LIB-NAME") => (&mut session.library_name, "lib-name"),
        () if is(attribute, "LIB-VER") => (&mut session.library_version, "lib-ver"),
        () => return Err(errors::client_info_attribute(attribute)),
    };
    if !is_plain(value) {
        return Err(errors::client_info_value(name));
    }
    *place = value.into();
    call.reply.ok();
    Ok(Flow::Done)
}

fn getredir(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    call.reply.integer(-1);
    Ok(Flow::Done)
}

fn info(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    let mut text = String::new();
    describe(call.session(), call.now, &mut text);
    call.reply.verbatim(&text);
    Ok(Flow::Done)
}

/// The words of `TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    PubSub,
    /// Replication links, which this broker does not have.
    Replication,
}

impl ClientType {
    fn parse(word: &[u8]) -> Result<Self, Error> {
        match () {
            () if is(word, "normal") => Ok(Self::Normal),
            () if is(word, "pubsub") => Ok(Self::PubSub),
            () if ["master", "replica", "slave"].iter().any(|known| is(word, known)) => Ok(Self::Replication),
            () => Err(errors::client_type(word)),
        }
    }

    fn matches(self, session: &Session) -> bool {
        let subscriber = session.subscriptions() > 0;
        match self {
            Self::Normal => !subscriber,
            Self::PubSub => subscriber,
            Self::Replication => false,
        }
    }
}

fn list(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let mut ids: Option<Vec<SessionId>> = None;
    let mut kind = None;
    match from(args, 2) {
        [] => {}
        [option, word] if is(option, "TYPE") => kind = Some(ClientType::parse(word)?),
        [option, numbers @ ..] if is(option, "ID") && !numbers.is_empty() => {
            ids = Some(numbers.iter().map(|number| client_id(number)).collect::<Result<_, _>>()?);
        }
        _ => return Err(errors::SYNTAX),
    }
    let mut sessions: Vec<&Session> = call.core.sessions.values().collect();
    sessions.retain(|session| {
        kind.is_none_or(|kind| kind.matches(session))
            && ids.as_ref().is_none_or(|ids| ids.contains(&session.id))
    });
    sessions.sort_unstable_by_key(|session| session.id);
    let mut text = String::new();
    for session in sessions {
        describe(session, call.now, &mut text);
    }
    call.reply.verbatim(&text);
    Ok(Flow::Done)
}

fn client_id(number: &[u8]) -> Result<SessionId, Error> {
    let number = integer(number).map_err(|_| errors::CLIENT_ID_INVALID)?;
    u64::try_from(number).ok().filter(|&id| id > 0).map(SessionId::new).ok_or(errors::CLIENT_ID_INVALID)
}

/// One line of `CLIENT LIST`.
pub(crate) fn describe(session: &Session, now: Timestamp, out: &mut String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut flags = String::new();
    if session.subscriptions() > 0 {
        flags.push('P');
    }
    if session.transaction.is_some() {
        flags.push('x');
    }
    if session.blocked.is_some() {
        flags.push('b');
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let queued =
        session.transaction.as_ref().map_or(-1, |t| i64::try_from(t.commands.len()).unwrap_or(i64::MAX));
    let protocol = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    let info = &session.info;
    let written = writeln!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={queued} watch={} cmd={} user={} redir=-1 resp={protocol} lib-name={} lib-ver={}",
        session.id,
        info.address,
        info.local_address,
        info.descriptor,
        text(&session.name),
        now.since(session.opened_at).as_secs(),
        now.since(session.active_at).as_secs(),
        session.database,
        session.channels.len(),
        session.patterns.len(),
        session.shard_channels.len(),
        session.watched.len(),
        session.last_command,
        text(session.user.name()),
        text(&session.library_name),
        text(&session.library_version),
    );
    written.expect("writing to a string succeeds");
}

/// Which connections `CLIENT KILL` ends.
struct KillFilter<'a> {
    id: Option<SessionId>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<ClientType>,
    user: Option<&'a [u8]>,
    skip_me: bool,
}

fn kill(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let old_style = args.len() == 3;
    let mut filter = KillFilter {
        id: None,
        address: None,
        local_address: None,
        kind: None,
        user: None,
        skip_me: !old_style,
    };
    if old_style {
        filter.address = Some(arg(args, 2));
    } else {
        parse_kill_filter(from(args, 2), &mut filter)?;
    }
    let by = call.by;
    let wanted = |session: &&Session| {
        filter.id.is_none_or(|id| id == session.id)
            && filter.address.is_none_or(|address| address == session.info.address.as_bytes())
            && filter.local_address.is_none_or(|address| address == session.info.local_address.as_bytes())
            && filter.kind.is_none_or(|kind| kind.matches(session))
            && filter.user.is_none_or(|user| user == session.user.name())
            && !(filter.skip_me && session.id == by)
    };
    let mut killed: Vec<SessionId> =
        call.core.sessions.values().filter(wanted).map(|session| session.id).collect();
    killed.sort_unstable();
    for &id in killed.iter().filter(|&&id| id != by) {
        call.effects.out.deliver(id, DeliveryKind::Close, 0..0, Position::default());
    }
    match (old_style, killed.len()) {
        (true, 0) => return Err(errors::NO_SUCH_CLIENT),
        (true, _) => call.reply.ok(),
        (false, count) => call.reply.count(count),
    }
    Ok(if killed.contains(&by) { Flow::Close } else { Flow::Done })
}

fn parse_kill_filter<'a>(mut options: &[&'a [u8]], filter: &mut KillFilter<'a>) -> Result<(), Error> {
    while let [option, value, rest @ ..] = options {
        options = rest;
        match () {
            () if is(option, "ID") => {
                let number = integer(value).ok().and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
                filter.id = Some(SessionId::new(number.ok_or(errors::CLIENT_ID)?));
            }
            () if is(option, "ADDR") => filter.address = Some(value),
            () if is(option, "LADDR") => filter.local_address = Some(value),
            () if is(option, "TYPE") => filter.kind = Some(ClientType::parse(value)?),
            () if is(option, "USER") => filter.user = Some(value),
            () if is(option, "SKIPME") && is(value, "YES") => filter.skip_me = true,
            () if is(option, "SKIPME") && is(value, "NO") => filter.skip_me = false,
            () => return Err(errors::SYNTAX),
        }
    }
    if options.is_empty() { Ok(()) } else { Err(errors::SYNTAX) }
}

fn switch(word: &[u8]) -> Result<bool, Error> {
    match () {
        () if is(word, "ON") => Ok(true),
        () if is(word, "OFF") => Ok(false),
        () => Err(errors::SYNTAX),
    }
}

/// Nothing is ever evicted here; the setting is kept because clients send it.
fn no_evict(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    call.session_mut().no_evict = switch(arg(args, 2))?;
    call.reply.ok();
    Ok(Flow::Done)
}

/// Accesses are noted all the same; the setting is kept because clients send it.
fn no_touch(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    call.session_mut().no_touch = switch(arg(args, 2))?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn reply(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let mode = arg(args, 2);
    match () {
        () if is(mode, "ON") => {
            call.session_mut().reply_mode = ReplyMode::On;
            call.reply.ok();
        }
        () if is(mode, "OFF") => call.session_mut().reply_mode = ReplyMode::Off,
        () if is(mode, "SKIP") => {
            if call.session().reply_mode == ReplyMode::On {
                call.session_mut().reply_mode = ReplyMode::SkipNext;
            }
        }
        () => return Err(errors::SYNTAX),
    }
    Ok(Flow::Done)
}

fn unblock(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let error = match from(args, 3) {
        [] => None,
        [reason] if is(reason, "TIMEOUT") => None,
        [reason] if is(reason, "ERROR") => Some(&errors::UNBLOCKED),
        [_] => return Err(errors::UNBLOCK_REASON),
        _ => return Err(errors::subcommand_syntax("client", arg(args, 1))),
    };
    let id = integer(arg(args, 2))?;
    let id = SessionId::new(u64::try_from(id).unwrap_or_default());
    let unblocked = call.core.end_wait(id, call.effects.out, error);
    call.reply.integer(i64::from(unblocked));
    Ok(Flow::Done)
}

fn help(call: &mut Call<'_>, _args: &[&[u8]]) -> Result<Flow, Error> {
    super::introspection::subcommand_help(call, "client", SUBCOMMANDS);
    Ok(Flow::Done)
}
