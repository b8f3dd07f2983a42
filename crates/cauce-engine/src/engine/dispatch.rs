//! From a request to the handler that runs it: the checks that every command passes.

use cauce_resp::{Encoder, Protocol};

use super::Core;
use super::blocks::{FETCHES_MAX, Fetching};
use crate::call::{Call, Effects, Flow};
use crate::command::{CommandSpec, CommandTable, Flags};
use crate::errors::{self, Error};
use crate::outputs::{Outcome, Outputs, Position};
use crate::session::{Queued, ReplyMode, SessionId};
use crate::time::Timestamp;
use crate::users::Context;

impl Core {
    /// Runs one command and writes its reply, or the error that kept it from running.
    pub(crate) fn dispatch(
        &mut self,
        now: Timestamp,
        by: SessionId,
        args: &[&[u8]],
        out: &mut Outputs,
    ) -> Outcome {
        self.stats.commands += 1;
        self.dispatch_again(now, by, args, 0, out)
    }

    /// Runs a command that may have been run before, `rounds` times: it needed blocks then.
    pub(super) fn dispatch_again(
        &mut self,
        now: Timestamp,
        by: SessionId,
        args: &[&[u8]],
        rounds: u32,
        out: &mut Outputs,
    ) -> Outcome {
        let mark = out.replies.len();
        let flow = match self.admit(now, by, args) {
            Ok(Admitted::Run(spec)) => {
                self.may_fetch = rounds < FETCHES_MAX;
                self.run(spec, now, by, args, out)
            }
            Ok(Admitted::Queued) => {
                out.replies.extend_from_slice(b"+QUEUED\r\n");
                Flow::Done
            }
            Err(error) => {
                self.stats.errors += 1;
                let error = self.refuse(by, args, error);
                let protocol = self.session(by).protocol;
                Encoder::new(&mut out.replies, protocol).error(error.text().as_bytes());
                Flow::Done
            }
        };
        if !self.absent.is_empty() {
            out.replies.truncate(mark);
            out.absent.append(&mut self.absent);
            let args = args.iter().map(|&arg| arg.into()).collect();
            self.session_mut(by).fetching = Some(Fetching { args, rounds: rounds + 1 });
            return Outcome::NeedsBlocks;
        }
        self.finish(flow, by, mark, out)
    }

    /// Answers a command that cannot be run to its end.
    pub(super) fn answer_error(&mut self, by: SessionId, error: &Error, out: &mut Outputs) -> Outcome {
        let mark = out.replies.len();
        self.stats.errors += 1;
        let protocol = self.session(by).protocol;
        Encoder::new(&mut out.replies, protocol).error(error.text().as_bytes());
        self.finish(Flow::Done, by, mark, out)
    }

    /// A refused command spoils the transaction that it is part of; a refused EXEC ends it.
    fn refuse(&mut self, by: SessionId, args: &[&[u8]], error: Error) -> Error {
        if args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"exec")) {
            self.session_mut(by).transaction = None;
            self.unwatch(by);
            return errors::exec_refused(&error);
        }
        if let Some(transaction) = &mut self.session_mut(by).transaction {
            transaction.refused = true;
        }
        error
    }

    fn finish(&mut self, flow: Flow, by: SessionId, mark: usize, out: &mut Outputs) -> Outcome {
        let session = self.session_mut(by);
        session.reply_mode = match session.reply_mode {
            ReplyMode::On => ReplyMode::On,
            ReplyMode::Off => {
                out.replies.truncate(mark);
                ReplyMode::Off
            }
            ReplyMode::SkipNext => ReplyMode::SkipThis,
            ReplyMode::SkipThis => {
                out.replies.truncate(mark);
                ReplyMode::On
            }
        };
        match flow {
            Flow::Done => Outcome::Replied,
            Flow::Close => Outcome::Close,
            Flow::Shutdown => Outcome::Shutdown,
            Flow::Block(request) => {
                self.block(by, request);
                Outcome::Blocked
            }
        }
    }

    /// The checks in Redis's order: existence, arity, authentication, memory, subscriber mode, transaction.
    fn admit(&mut self, now: Timestamp, by: SessionId, args: &[&[u8]]) -> Result<Admitted, Error> {
        let spec = self.resolve(args)?;
        let memory_full = self.memory_is_full();
        let log_full = self.gauges.log_full;
        let log_failed = !self.settings.facts.log_failure.is_empty();
        let busy = self.scripts.running.is_some();
        let queue_max = self.settings.transaction_commands_max;
        let session = self.session_mut(by);
        session.active_at = now;
        session.last_command = spec.name;
        assert!(session.blocked.is_none(), "a blocked session's commands wait");
        let (unrestricted, known) = (session.user.is_unrestricted(), session.authenticated);
        if !known && !spec.flags.has(Flags::NO_AUTH) && self.needs_authentication(self.session(by)) {
            return Err(errors::NO_AUTH);
        }
        if !unrestricted {
            self.admit_user(now, by, spec, args)?;
        }
        let session = self.session_mut(by);
        if memory_full && spec.flags.has(Flags::DENYOOM) {
            return Err(errors::OUT_OF_MEMORY);
        }
        if log_failed && !spec.needs_no_log() {
            return Err(errors::LOG_FAILED);
        }
        if log_full && session.would_write(spec) {
            return Err(errors::LOG_FULL);
        }
        if busy && !spec.flags.has(Flags::ALLOW_BUSY) {
            return Err(errors::script::BUSY);
        }
        if session.is_subscriber_only() && !spec.flags.has(Flags::SUBSCRIBER) {
            return Err(errors::subscriber_only(spec.name));
        }
        let Some(transaction) = &mut session.transaction else { return Ok(Admitted::Run(spec)) };
        if spec.flags.has(Flags::IMMEDIATE) {
            return Ok(Admitted::Run(spec));
        }
        if spec.flags.has(Flags::NO_MULTI) {
            return Err(errors::NOT_IN_TRANSACTION);
        }
        if transaction.commands.len() >= queue_max {
            return Err(errors::TRANSACTION_TOO_LONG);
        }
        let args = args.iter().map(|&arg| arg.into()).collect();
        transaction.commands.push(Queued { spec, args });
        Ok(Admitted::Queued)
    }

    /// Checks what the session's user may do.
    fn admit_user(
        &mut self,
        now: Timestamp,
        by: SessionId,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Result<(), Error> {
        let in_transaction = self.session(by).transaction.is_some();
        let context = if in_transaction { Context::Multi } else { Context::Toplevel };
        let checked = self.check_permission(now, by, spec, args, context);
        checked.map_err(|denied| errors::acl::no_permission(self.session(by).user.name(), denied))
    }

    fn resolve(&self, args: &[&[u8]]) -> Result<&'static CommandSpec, Error> {
        let name = args.first().copied().unwrap_or_default();
        let spec = self.table.find(name).ok_or_else(|| errors::unknown_command(args))?;
        let spec = match args.get(1) {
            Some(sub) if !spec.subcommands.is_empty() => {
                CommandTable::find_sub(spec, sub).ok_or_else(|| errors::unknown_subcommand(spec.name, sub))?
            }
            _ => spec,
        };
        if spec.accepts(args.len()) { Ok(spec) } else { Err(errors::arity(spec.name)) }
    }

    /// Runs a handler for the session that sent the command.
    fn run(
        &mut self,
        spec: &'static CommandSpec,
        now: Timestamp,
        by: SessionId,
        args: &[&[u8]],
        out: &mut Outputs,
    ) -> Flow {
        // The handler writes into the replies while it holds the rest of the outputs.
        let mut replies = std::mem::take(&mut out.replies);
        let mark = replies.len();
        let (flow, after) = self.call(spec, now, by, args, true, &mut replies, out);
        out.replies = replies;
        out.gate(mark, after);
        if matches!(flow, Flow::Block(_)) && self.waiters.len() >= self.settings.blocked_clients_max {
            let protocol = self.session(by).protocol;
            Encoder::new(&mut out.replies, protocol).error(errors::TOO_MANY_BLOCKED.text().as_bytes());
            return Flow::Done;
        }
        flow
    }

    /// Runs a handler with its reply going to `reply`; an error becomes the reply.
    #[expect(clippy::too_many_arguments, reason = "the parts of a call, handed on once")]
    pub(crate) fn call(
        &mut self,
        spec: &'static CommandSpec,
        now: Timestamp,
        by: SessionId,
        args: &[&[u8]],
        may_block: bool,
        reply: &mut Vec<u8>,
        out: &mut Outputs,
    ) -> (Flow, Position) {
        let protocol = self.session(by).protocol;
        self.call_in(spec, now, by, args, protocol, may_block, reply, out)
    }

    /// The same with the reply in a protocol that need not be the session's.
    #[expect(clippy::too_many_arguments, reason = "the parts of a call, handed on once")]
    pub(crate) fn call_in(
        &mut self,
        spec: &'static CommandSpec,
        now: Timestamp,
        by: SessionId,
        args: &[&[u8]],
        protocol: Protocol,
        may_block: bool,
        reply: &mut Vec<u8>,
        out: &mut Outputs,
    ) -> (Flow, Position) {
        let session = self.session(by);
        let (db, touches) = (session.database, !session.no_touch);
        let mark = reply.len();
        let may_fetch = std::mem::take(&mut self.may_fetch);
        let mut call = Call {
            now,
            by,
            db,
            may_block,
            may_fetch,
            touches,
            core: self,
            reply: Encoder::new(reply, protocol),
            effects: Effects { out, after: Position::default() },
        };
        let flow = match (spec.run)(&mut call, args) {
            Ok(flow) => flow,
            Err(error) => {
                call.reply.truncate(mark);
                call.reply.error(error.text().as_bytes());
                // One that needs blocks is run again.
                call.core.stats.errors += u64::from(call.core.absent.is_empty());
                Flow::Done
            }
        };
        let after = call.effects.after;
        assert!(may_block || !matches!(flow, Flow::Block(_)), "who may not block does not");
        (flow, after)
    }
}

/// What becomes of a request that passed the checks.
enum Admitted {
    Run(&'static CommandSpec),
    Queued,
}
