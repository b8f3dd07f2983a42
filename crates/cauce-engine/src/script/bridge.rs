//! Where the engine's state lies while a script runs, so that the interpreter's functions reach it.
//!
//! The functions live as long as the interpreter and can borrow nothing. So the state is swapped with an empty one
//! in here for as long as the script runs, and swapped back by [`Lent`]'s destructor.

use std::cell::RefCell;
use std::rc::Rc;

use cauce_resp::{Encoder, Protocol};

use crate::call::{Call, Flow};
use crate::command::{CommandSpec, CommandTable, Flags};
use crate::config::Settings;
use crate::engine::Core;
use crate::errors::{self, Error, script as texts};
use crate::outputs::{Outcome, Outputs, Position};
use crate::random::Rand48;
use crate::script::Running;
use crate::script::watch::{RunningScript, ScriptFate, Watch};
use crate::script::words::Words;
use crate::session::{SessionId, SessionInfo};
use crate::time::Timestamp;
use crate::users::Context;

/// Commands between two looks of the watch: scripts may spend their time in commands rather than instructions.
const COMMANDS_PER_POLL: u32 = 64;

/// What a script may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights {
    pub(crate) read_only: bool,
    pub(crate) allow_oom: bool,
}

/// The state of the engine while a script runs, and of the script.
#[derive(Debug)]
pub(crate) struct Bridge {
    core: Core,
    out: Outputs,
    now: Timestamp,
    by: SessionId,
    rights: Rights,
    /// A script is running, and `core` is the engine's.
    open: bool,
    /// What the script asked to see replies in.
    pub(super) protocol: Protocol,
    /// The newest record that anything the script saw depends on.
    after: Position,
    /// The script has changed something, or may have.
    wrote: bool,
    pub(super) killed: bool,
    commands: u32,
    watch: Watch,
    pub(super) random: Rand48,
    /// A command runs. Still set at the next one, it says that the last one panicked.
    in_command: bool,
    /// The reply of the running command.
    pub(super) reply: Vec<u8>,
    /// Room for the arguments of commands.
    pub(super) words: Words,
}

impl Bridge {
    pub(super) fn new() -> Self {
        let settings = Settings { databases: 0, ..Settings::default() };
        Self {
            core: Core::new(settings),
            out: Outputs::default(),
            now: Timestamp::default(),
            by: SessionId::NOBODY,
            rights: Rights::default(),
            open: false,
            protocol: Protocol::Resp2,
            after: Position::default(),
            wrote: false,
            killed: false,
            commands: 0,
            watch: Watch::default(),
            random: Rand48::new(0),
            in_command: false,
            reply: Vec::new(),
            words: Words::default(),
        }
    }

    /// Runs a command of the script; its reply, or the error that kept it from running, is then in `reply`.
    pub(super) fn run(&mut self, args: &[&[u8]]) {
        assert!(!self.in_command, "a command has panicked: the state is in no defined state");
        self.in_command = true;
        self.reply.clear();
        if let Err(error) = self.try_run(args) {
            self.core.stats.errors += 1;
            self.refuse(&error);
        }
        self.in_command = false;
    }

    /// Leaves an error as the reply.
    pub(super) fn refuse(&mut self, error: &Error) {
        self.reply.clear();
        Encoder::new(&mut self.reply, self.protocol).error(error.text().as_bytes());
    }

    fn try_run(&mut self, args: &[&[u8]]) -> Result<(), Error> {
        if !self.open {
            return Err(texts::NESTED);
        }
        self.commands = self.commands.wrapping_add(1);
        let look = self.killed || self.commands.is_multiple_of(COMMANDS_PER_POLL);
        if look && self.poll() == ScriptFate::Kill {
            return Err(texts::KILLED);
        }
        let spec = self.admit(args)?;
        let checked = self.core.check_permission(self.now, self.by, spec, args, Context::Script);
        checked.map_err(|denied| {
            errors::acl::denied_in_script(self.core.session(self.by).user.name(), denied)
        })?;
        self.core.stats.commands += 1;
        self.wrote |= spec.flags.has(Flags::WRITE);
        let (flow, after) = self.core.call_in(
            spec,
            self.now,
            self.by,
            args,
            self.protocol,
            false,
            &mut self.reply,
            &mut self.out,
        );
        debug_assert!(!matches!(flow, Flow::Block(_)), "a script does not wait");
        self.after = self.after.max(after);
        Ok(())
    }

    /// The checks in Redis's order.
    fn admit(&self, args: &[&[u8]]) -> Result<&'static CommandSpec, Error> {
        let name = args.first().copied().unwrap_or_default();
        let spec = self.core.table.find(name).ok_or(texts::UNKNOWN_COMMAND)?;
        let spec = match args.get(1) {
            Some(sub) if !spec.subcommands.is_empty() => {
                CommandTable::find_sub(spec, sub).ok_or(texts::UNKNOWN_COMMAND)?
            }
            _ => spec,
        };
        if !spec.accepts(args.len()) {
            return Err(texts::ARITY);
        }
        if spec.flags.has(Flags::NOSCRIPT) {
            return Err(texts::NOT_ALLOWED);
        }
        if self.rights.read_only && spec.flags.has(Flags::WRITE) {
            return Err(texts::READ_ONLY);
        }
        let may_grow = self.rights.allow_oom || self.wrote;
        if !may_grow && spec.flags.has(Flags::DENYOOM) && self.core.memory_is_full() {
            return Err(errors::OUT_OF_MEMORY);
        }
        if !self.wrote && spec.flags.has(Flags::WRITE) && self.core.gauges.log_full {
            return Err(errors::LOG_FULL);
        }
        Ok(spec)
    }

    /// Whether the script's user may run a command; `None` if there is no such command.
    pub(super) fn may_run(&self, args: &[&[u8]]) -> Option<bool> {
        let spec = self.core.table.find(args.first()?)?;
        let spec = match args.get(1) {
            Some(sub) if !spec.subcommands.is_empty() => CommandTable::find_sub(spec, sub)?,
            _ => spec,
        };
        Some(Core::permits(&self.core.session(self.by).user, spec, args).is_ok())
    }

    /// Asks the watch; a script that is to end remembers it.
    pub(super) fn poll(&mut self) -> ScriptFate {
        if !self.open || self.killed {
            return if self.killed { ScriptFate::Kill } else { ScriptFate::Continue };
        }
        let Some(mut watch) = self.watch.0.take() else { return ScriptFate::Continue };
        self.core.scripts.running = Some(Running { wrote: self.wrote, kill_requested: false });
        let fate = watch.poll(&mut RunningScript::new(self));
        self.core.scripts.running = None;
        self.watch.0 = Some(watch);
        self.killed = fate == ScriptFate::Kill;
        fate
    }

    // What the watch may do.

    pub(super) fn wrote(&self) -> bool {
        self.wrote
    }

    pub(super) fn kill_requested(&self) -> bool {
        self.core.scripts.running.is_some_and(|running| running.kill_requested)
    }

    pub(super) fn open_session(&mut self, id: SessionId, info: SessionInfo) {
        self.core.open_session(self.now, id, info);
    }

    pub(super) fn close_session(&mut self, id: SessionId) {
        assert!(id != self.by, "the session of a running script is open");
        self.core.close_session(id);
    }

    pub(super) fn apply_meanwhile(&mut self, by: SessionId, args: &[&[u8]], out: &mut Outputs) -> Outcome {
        self.core.dispatch(self.now, by, args, out)
    }
}

/// The state lent to a bridge; it goes back when this is dropped.
pub(super) struct Lent<'c, 'a> {
    bridge: Rc<RefCell<Bridge>>,
    call: &'c mut Call<'a>,
    database: usize,
}

impl<'c, 'a> Lent<'c, 'a> {
    pub(super) fn new(bridge: &Rc<RefCell<Bridge>>, call: &'c mut Call<'a>, rights: Rights) -> Self {
        let database = call.db;
        {
            let mut inner = bridge.borrow_mut();
            let inner = &mut *inner;
            assert!(!inner.open, "one script runs at a time");
            inner.watch = std::mem::take(&mut call.core.scripts.watch);
            std::mem::swap(&mut inner.random, &mut call.core.scripts.kept.random);
            std::mem::swap(&mut inner.core, call.core);
            std::mem::swap(&mut inner.out, call.effects.out);
            (inner.now, inner.by, inner.rights) = (call.now, call.by, rights);
            inner.protocol = Protocol::Resp2;
            (inner.after, inner.wrote, inner.killed, inner.commands) = (Position::default(), false, false, 0);
            inner.open = true;
            if let Some(watch) = &mut inner.watch.0 {
                watch.begin(inner.core.settings.busy_reply_threshold());
            }
        }
        Self { bridge: Rc::clone(bridge), call, database }
    }
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        // Not in use: whoever used it is through, also if a panic unwinds.
        let mut inner = self.bridge.borrow_mut();
        let inner = &mut *inner;
        inner.open = false;
        if let Some(watch) = &mut inner.watch.0 {
            watch.end();
        }
        std::mem::swap(&mut inner.core, self.call.core);
        std::mem::swap(&mut inner.out, self.call.effects.out);
        self.call.core.scripts.watch = std::mem::take(&mut inner.watch);
        std::mem::swap(&mut inner.random, &mut self.call.core.scripts.kept.random);
        self.call.effects.after = self.call.effects.after.max(inner.after);
        // SELECT in a script ends with it.
        self.call.session_mut().database = self.database;
    }
}
