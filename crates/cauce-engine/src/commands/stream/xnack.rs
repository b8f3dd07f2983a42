//! `XNACK key group SILENT|FAIL|FATAL IDS numids id [id ...] [RETRYCOUNT count] [FORCE]` (Redis 8.8)

use super::options::strict_ids;
use super::xclaim::find_group;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from, is};
use crate::errors::{Error, stream as texts};
use crate::records::{Effect, Release, StreamEffect};
use crate::stream::{DELIVERY_COUNT_MAX, Needs, StreamId};

pub(super) const XNACK: CommandSpec = CommandSpec {
    name: "xnack",
    arity: -7,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "8.8.0",
    summary: "Gives pending entries of a consumer group back, for the next consumer that claims.",
    complexity: "O(1) for each message ID processed.",
    run: xnack,
    subcommands: &[],
};

/// What giving back says of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It did not count.
    Silent,
    /// It counted.
    Fail,
    /// There should be no other.
    Fatal,
}

struct Terms {
    mode: Mode,
    ids: Vec<StreamId>,
    retry_count: Option<u64>,
    force: bool,
}

fn xnack(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, name) = (arg(args, 1), arg(args, 2));
    let terms = Terms::parse(from(args, 3))?;
    let slot = find_group(call, key, name)?;
    if terms.force {
        call.want(slot, &Needs::Ids(&terms.ids));
        call.bring()?;
    }
    let (stream, _) = call.stream_mut(slot);
    let Some((group, entries)) = stream.group_mut(name) else {
        return Err(texts::no_key_or_group(key, name));
    };
    let mut releases = Vec::new();
    for &id in &terms.ids {
        let before = match group.pending().get(id) {
            Some(pending) => pending.delivery_count,
            None if terms.force && entries.contains(id) => 0,
            None => continue,
        };
        let delivery_count = terms.count_after(before);
        group.release(id, delivery_count);
        releases.push(Release { id, delivery_count });
    }
    call.reply.count(releases.len());
    if !releases.is_empty() {
        let effect = StreamEffect::Release { group: name, releases: releases.into() };
        call.record(slot, &Effect::Stream(effect));
    }
    Ok(Flow::Done)
}

impl Terms {
    fn parse(args: &[&[u8]]) -> Result<Self, Error> {
        let mode = match arg(args, 0) {
            word if is(word, "SILENT") => Mode::Silent,
            word if is(word, "FAIL") => Mode::Fail,
            word if is(word, "FATAL") => Mode::Fatal,
            _ => return Err(texts::NACK_MODE),
        };
        if !is(arg(args, 1), "IDS") {
            return Err(texts::NACK_IDS_KEYWORD);
        }
        let count = cauce_resp::parse_i64(arg(args, 2)).and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|&count| count > 0).ok_or(texts::NACK_COUNT)?;
        let (ids, mut options) = from(args, 3).split_at_checked(count).ok_or(texts::NACK_MISMATCH)?;
        let mut terms = Self { mode, ids: strict_ids(ids)?, retry_count: None, force: false };
        while let [option, rest @ ..] = options {
            options = match rest {
                _ if is(option, "FORCE") => {
                    terms.force = true;
                    rest
                }
                [count, rest @ ..] if is(option, "RETRYCOUNT") => {
                    let count = cauce_resp::parse_i64(count).and_then(|count| u64::try_from(count).ok());
                    terms.retry_count = Some(count.ok_or(texts::NACK_RETRYCOUNT)?);
                    rest
                }
                _ => return Err(texts::nack_option(option)),
            };
        }
        Ok(terms)
    }

    fn count_after(&self, before: u64) -> u64 {
        self.retry_count.unwrap_or(match self.mode {
            Mode::Silent => before.saturating_sub(1),
            Mode::Fail => before,
            Mode::Fatal => DELIVERY_COUNT_MAX,
        })
    }
}
