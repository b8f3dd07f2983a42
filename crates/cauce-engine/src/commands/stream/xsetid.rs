//! `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`

use super::options::strict_id;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, integer, is};
use crate::errors::{self, Error, stream as texts};
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};
use crate::stream::{Entries, Needs, StreamId};

pub(super) const XSETID: CommandSpec = CommandSpec {
    name: "xsetid",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "5.0.0",
    summary: "An internal command for replicating stream values.",
    complexity: "O(1)",
    run: xsetid,
    subcommands: &[],
};

struct NewState {
    last_id: StreamId,
    entries_added: Option<u64>,
    max_deleted_id: Option<StreamId>,
}

fn xsetid(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let state = NewState::parse(args)?;
    let slot = call.find_stream(key)?.ok_or(errors::NO_SUCH_KEY)?;
    call.want(slot, &Needs::LAST);
    call.bring()?;
    let entries = call.stream_mut(slot).0.entries_mut();
    state.check(entries)?;
    let NewState { last_id, entries_added, max_deleted_id } = state;
    entries.set_last_id(last_id, entries_added, max_deleted_id);
    let effect = StreamEffect::SetId { last_id, entries_added, max_deleted_id };
    call.record(slot, &Effect::Stream(effect));
    call.notify(NotifyClasses::STREAM, "xsetid", key);
    call.reply.ok();
    Ok(Flow::Done)
}

impl NewState {
    fn parse(args: &[&[u8]]) -> Result<Self, Error> {
        let last_id = strict_id(arg(args, 2))?;
        let mut parsed = Self { last_id, entries_added: None, max_deleted_id: None };
        let mut options = from(args, 3);
        while let [option, rest @ ..] = options {
            let [value, rest @ ..] = rest else { return Err(errors::SYNTAX) };
            if is(option, "ENTRIESADDED") {
                let added = u64::try_from(integer(value)?).map_err(|_| texts::ENTRIES_ADDED)?;
                parsed.entries_added = Some(added);
            } else if is(option, "MAXDELETEDID") {
                let max_deleted_id = strict_id(value)?;
                if last_id < max_deleted_id {
                    return Err(texts::SETID_BELOW_GIVEN_DELETED);
                }
                // 0-0 stands for "not given".
                parsed.max_deleted_id = Some(max_deleted_id).filter(|&id| id != StreamId::MIN);
            } else {
                return Err(errors::SYNTAX);
            }
            options = rest;
        }
        Ok(parsed)
    }

    fn check(&self, entries: &Entries) -> Result<(), Error> {
        if self.last_id < entries.counters().max_deleted_id {
            return Err(texts::SETID_BELOW_DELETED);
        }
        if entries.last().is_some_and(|last| self.last_id < last.id()) {
            return Err(texts::SETID_BELOW_TOP);
        }
        if self.entries_added.is_some_and(|added| added < entries.len()) {
            return Err(texts::SETID_BELOW_LENGTH);
        }
        Ok(())
    }
}
