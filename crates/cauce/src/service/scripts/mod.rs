//! What must happen at once at the broker: one script for each, typed. Every key that a script touches is declared, and all keys of one call
//! share a slot.

use std::time::Duration;

use redis::Value;
use serde::Deserialize;

use super::attempts::Attempt;
use super::core::millis;
use super::lane::Lane;
use crate::backend::link::Link;
use crate::backend::reply;
use crate::entry::{EntryId, Fields};
use crate::error::CommandError;
use crate::script::{Invocation, Script};

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(static $name: Script = Script::new(concat!(include_str!("prelude.lua"), include_str!($file)));)*
    };
}

scripts! {
    BURY = "bury.lua";
    CURSOR = "cursor.lua";
    DISOWN = "disown.lua";
    EDIT = "edit.lua";
    OWN = "own.lua";
    GIVE_BACK = "give_back.lua";
    PARK = "park.lua";
    REDRIVE = "redrive.lua";
    REMOVE = "remove.lua";
    RENEW = "renew.lua";
    RENEW_PARKED = "renew_parked.lua";
    RETAIN = "retain.lua";
    SETTLE = "settle.lua";
    TAKE_ALL = "take_all.lua";
    TAKE_DUE = "take_due.lua";
    TAKE_LOST = "take_lost.lua";
    TAKE_OVER = "take_over.lua";
}

/// The consumer that has the entries which wait for their next attempt.
pub(crate) const PARKED: &str = "cauce:retry";
/// Due entries that one call takes at most.
pub(crate) const DUE_MAX: usize = 500;

/// Who owns the entries comes first in most calls.
fn asked_by<'k>(
    script: &'static Script,
    keys: impl IntoIterator<Item = &'k str>,
    owner: Owner<'_>,
) -> Invocation {
    let mut call = script.with_keys(keys);
    call.arg(owner.group).arg(owner.consumer);
    call
}

async fn number(call: &Invocation, link: &Link, name: &'static str) -> Result<i64, CommandError> {
    reply::integer(&call.run(link).await?).ok_or(CommandError::Unexpected { command: name })
}

/// Entries of one delivery count whose leases end together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The broker's time in milliseconds before which nobody can have taken them over.
    pub(crate) deadline: u64,
    pub(crate) attempt: u32,
    /// Whether the broker knows attempts of them.
    pub(crate) noted: bool,
    pub(crate) ids: Vec<EntryId>,
}

/// Acknowledges what is still this consumer's, and marks it in the inbox if there is one; says how many that were.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn settle(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    inbox: Option<Duration>,
    runs: &[Run],
) -> Result<usize, CommandError> {
    let mut call = asked_by(&SETTLE, [&*lane.stream, &lane.attempts, &lane.reader, &lane.inbox], owner);
    call.flag(lane.is_side())
        .flag(lane.is_ordered())
        .arg(inbox.map(|kept| millis(kept).to_string()).unwrap_or_default())
        .number(runs.len() as u64);
    for run in runs {
        call.number(run.deadline).number(run.attempt.into()).flag(run.noted).number(run.ids.len() as u64);
    }
    call.ids(runs.iter().flat_map(|run| run.ids.iter().copied()));
    Ok(usize::try_from(number(&call, link, "settle").await?).unwrap_or(0))
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) group: &'a str,
    pub(crate) consumer: &'a str,
}

/// What became of an entry that was to be put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    Yes,
    /// It was not this consumer's any more.
    Late,
    /// The group was lost, and is given it again; or it was put aside before, by a command whose reply was lost, and given to this consumer again.
    ComesAgain,
}

/// Puts a failed entry aside.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn park(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    failed: &Attempt<'_>,
    keeper: &str,
    delay_ms: u64,
) -> Result<Parked, CommandError> {
    let mut call = asked_by(&PARK, [&*lane.stream, &lane.due, &lane.attempts], owner);
    call.ids([failed.id]).number(failed.number.into()).arg(keeper).number(delay_ms);
    call.number(failed.took_ms()).arg(failed.record(owner.consumer));
    Ok(match number(&call, link, "park").await? {
        1 => Parked::Yes,
        2 => Parked::ComesAgain,
        _ => Parked::Late,
    })
}

/// Makes an entry a dead letter; says whether it was still this consumer's. `run` is whether this attempt was started.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn bury(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    failed: &Attempt<'_>,
    fenced: bool,
    letter: &Fields,
) -> Result<bool, CommandError> {
    let mut call = asked_by(&BURY, [&*lane.stream, &lane.dead, &lane.attempts], owner);
    let fence = if fenced { failed.number } else { 0 };
    let record = if failed.was_run() { failed.record(owner.consumer) } else { String::new() };
    call.ids([failed.id]).number(fence.into()).number(failed.took_ms()).arg(record);
    call.flag(lane.is_side()).fields(letter);
    Ok(number(&call, link, "bury").await? == 1)
}

/// Entries that a script gave to this consumer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// When, in milliseconds of the broker's clock.
    pub(crate) time: u64,
    pub(crate) entries: Vec<TakenEntry>,
    /// What was to be given and is gone from the stream, or was settled by somebody else.
    pub(crate) gone: Vec<EntryId>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TakenEntry {
    pub(crate) id: EntryId,
    pub(crate) fields: Fields,
    pub(crate) attempt: u32,
    /// How many instances died with it.
    pub(crate) crashes: u32,
    /// Whether the broker knows attempts of it.
    pub(crate) noted: bool,
    /// Whether the last owner was running it alone when it died.
    pub(crate) alone: bool,
    /// Whether it waits for its next attempt all the same.
    pub(crate) parked: bool,
    /// Whether it waited for its next attempt until now.
    pub(crate) was_parked: bool,
}

/// What was due, and when the next will be.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) taken: Taken,
    /// In milliseconds from now.
    pub(crate) next: Option<u64>,
}

/// Takes what is due.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn take_due(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    count: usize,
) -> Result<Due, CommandError> {
    let mut call = asked_by(&TAKE_DUE, [&*lane.stream, &lane.due, &lane.attempts, &lane.reader], owner);
    call.number(count.min(DUE_MAX) as u64).flag(lane.is_ordered());
    let (taken, next) =
        parse(call.run(link).await?).ok_or(CommandError::Unexpected { command: "take_due" })?;
    Ok(Due { taken, next: u64::try_from(next).ok() })
}

/// Takes entries of a consumer whose lease lapsed, idle for at least `idle_ms`; and says how many were found.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn take_over(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    other: &str,
    idle_ms: u64,
    count: usize,
) -> Result<(Taken, usize), CommandError> {
    let lease = lane.lease_of(other);
    let mut call = asked_by(&TAKE_OVER, [&*lane.stream, &lane.attempts, &lease], owner);
    call.arg(other).number(idle_ms).number(count as u64);
    let (taken, found) =
        parse(call.run(link).await?).ok_or(CommandError::Unexpected { command: "take_over" })?;
    Ok((taken, usize::try_from(found).unwrap_or(0)))
}

/// Reads again what is pending with this consumer at these delivery counts.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn take_lost(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    lost: &[(EntryId, u32)],
) -> Result<Taken, CommandError> {
    let mut call = asked_by(&TAKE_LOST, [&*lane.stream, &lane.attempts, &lane.due], owner);
    for (id, count) in lost {
        call.ids([*id]).number((*count).into());
    }
    let taken = parse(call.run(link).await?).ok_or(CommandError::Unexpected { command: "take_lost" })?;
    Ok(taken.0)
}

/// Gives entries up: id, delivery count, and the count that each gets back. Says how many were this consumer's.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn give_back(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    entries: &[(EntryId, u32, u32)],
) -> Result<usize, CommandError> {
    let mut call = asked_by(&GIVE_BACK, [&*lane.stream, &lane.due], owner);
    for (id, count, restored) in entries {
        call.ids([*id]).number((*count).into()).number((*restored).into());
    }
    Ok(usize::try_from(number(&call, link, "give_back").await?).unwrap_or(0))
}

/// Renews the idle time of entries that this consumer has had for at least `idle_ms`. The ids are in order.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn renew(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    idle_ms: u64,
    ids: &[EntryId],
) -> Result<(), CommandError> {
    let mut call = asked_by(&RENEW, [&*lane.stream], owner);
    call.number(idle_ms).ids(ids.iter().copied()).run(link).await.map(drop)
}

/// Renews the idle time of entries that wait for their next attempt; says how many were found.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn renew_parked(
    link: &Link,
    lane: &Lane,
    group: &str,
    idle_ms: u64,
    count: usize,
) -> Result<usize, CommandError> {
    let mut call = RENEW_PARKED.with_keys([&*lane.stream, &lane.due]);
    call.arg(group).number(idle_ms).number(count as u64);
    Ok(usize::try_from(number(&call, link, "renew_parked").await?).unwrap_or(0))
}

/// Takes a consumer out of the group, unless it lives or has pending entries; says whether.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn remove(
    link: &Link,
    lane: &Lane,
    group: &str,
    consumer: &str,
    by_itself: bool,
) -> Result<bool, CommandError> {
    let lease = lane.lease_of(consumer);
    let mut call = asked_by(&REMOVE, [&*lane.stream, &lease, &lane.members], Owner { group, consumer });
    call.flag(by_itself);
    Ok(number(&call, link, "remove").await? == 1)
}

/// Saves from where the group would have to go on if it were lost.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn save_cursor(link: &Link, lane: &Lane, group: &str) -> Result<(), CommandError> {
    CURSOR.with_keys([&*lane.stream, &lane.cursor_key]).arg(group).run(link).await.map(drop)
}

/// Makes this consumer, which reads by this connection, the group's one reader of the stream; or renews that, where the connection is empty. Says the
/// connection by which the one before read, if any; `None` if another has the stream.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn own(
    link: &Link,
    lane: &Lane,
    consumer: &str,
    lease_ms: u64,
    connection: &str,
) -> Result<Option<String>, CommandError> {
    let mut call = OWN.with_keys([&*lane.reader, &lane.owner]);
    call.arg(consumer).number(lease_ms).arg(connection);
    let mut parts = reply::list(call.run(link).await?).unwrap_or_default().into_iter();
    match (parts.next().as_ref().and_then(reply::integer), parts.next().and_then(reply::text)) {
        (Some(1), Some(before)) => Ok(Some(before)),
        (Some(0), _) => Ok(None),
        _ => Err(CommandError::Unexpected { command: "own" }),
    }
}

/// Lets another consumer be the reader. `quiet` is whether nothing can come by this one's connection any more.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn disown(
    link: &Link,
    lane: &Lane,
    consumer: &str,
    quiet: bool,
) -> Result<(), CommandError> {
    let mut call = DISOWN.with_keys([&*lane.reader, &lane.owner]);
    call.arg(consumer).flag(quiet).run(link).await.map(drop)
}

/// Takes what is pending after an entry, in order, whoever has it; and says after which entry to go on, if there may be more. `None` if this
/// consumer is not the reader any more.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn take_all(
    link: &Link,
    lane: &Lane,
    owner: Owner<'_>,
    after: Option<EntryId>,
    count: usize,
) -> Result<Option<(Taken, Option<EntryId>)>, CommandError> {
    let keys = [&*lane.stream, &lane.due, &lane.attempts, &lane.reader];
    let mut call = asked_by(&TAKE_ALL, keys, owner);
    let after = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
    let reply = call.arg(after).number(count as u64).run(link).await?;
    let last = match &reply {
        Value::Array(parts) => parts.last().and_then(reply::entry_id),
        _ => None,
    };
    let (taken, found) = parse(reply).ok_or(CommandError::Unexpected { command: "take_all" })?;
    let Ok(found) = usize::try_from(found) else { return Ok(None) };
    Ok(Some((taken, last.filter(|_| found == count))))
}

/// The keys and names of a dead letter that goes back.
#[derive(Debug)]
pub(crate) struct Redrive<'a> {
    pub(crate) keys: [&'a str; 5],
    pub(crate) letter: EntryId,
    pub(crate) group: &'a str,
    pub(crate) entry: EntryId,
    pub(crate) always_copy: bool,
    pub(crate) fields: &'a Fields,
}

/// What the script says: a number, or the id of the copy.
///
/// # Errors
/// If the broker can't be reached or refuses, as when the group is gone.
pub(crate) async fn redrive(link: &Link, letter: &Redrive<'_>) -> Result<Value, CommandError> {
    let mut call = REDRIVE.with_keys(letter.keys);
    call.ids([letter.letter]).arg(letter.group).ids([letter.entry]);
    call.flag(letter.always_copy).fields(letter.fields).run(link).await
}

/// Replaces a dead letter; `None` if it is gone.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn edit(
    link: &Link,
    dead: &str,
    letter: EntryId,
    fields: &Fields,
) -> Result<Option<EntryId>, CommandError> {
    let reply = EDIT.with_keys([dead]).ids([letter]).fields(fields).run(link).await?;
    Ok(reply::entry_id(&reply))
}

/// How much of a stream is to be kept.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) age: Option<Duration>,
    pub(crate) length: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// Entries that one call looks at.
    pub(crate) count: usize,
}

/// Removes the oldest entries as far as the policy says and every group is done with them; says how many, and whether groups need more that would go.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn retain(link: &Link, stream: &str, policy: &Policy) -> Result<(u64, bool), CommandError> {
    let text = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
    let mut call = RETAIN.with_keys([stream]);
    call.arg(text(policy.age.map(millis))).arg(text(policy.length)).arg(text(policy.bytes));
    let reply = call.number(policy.count as u64).run(link).await?;
    let parts = reply::list(reply).unwrap_or_default();
    match (parts.first().and_then(reply::count), parts.get(1).and_then(reply::integer)) {
        (Some(removed), Some(held)) => Ok((removed, held == 1)),
        _ => Err(CommandError::Unexpected { command: "retain" }),
    }
}

/// `[time, number, [[id, fields, delivery count, attempts, alone, parked], ...], [id, ...]]`
fn parse(reply: Value) -> Option<(Taken, i64)> {
    let mut parts = reply::list(reply)?.into_iter();
    let time = reply::count(&parts.next()?)?;
    let number = reply::integer(&parts.next()?)?;
    let entries = reply::list(parts.next()?)?.into_iter().map(entry).collect::<Option<_>>()?;
    let gone = parts.next().and_then(reply::list).unwrap_or_default();
    let gone = gone.iter().filter_map(reply::entry_id).collect();
    Some((Taken { time, entries, gone }, number))
}

fn entry(reply: Value) -> Option<TakenEntry> {
    let mut parts = reply::list(reply)?.into_iter();
    let (id, fields) = reply::entry(Value::Array(vec![parts.next()?, parts.next()?]))?;
    // A redriven entry starts from zero, and what was delivered more often than can be counted stays at the end.
    let attempt = u32::try_from(reply::count(&parts.next()?)?).unwrap_or(u32::MAX - 1).max(1);
    let known = parts.next().and_then(reply::bytes);
    let mut number = || parts.next().as_ref().and_then(reply::integer);
    let (alone, parked) = (number(), number());
    Some(TakenEntry {
        id,
        fields: fields?,
        attempt,
        crashes: known.as_deref().map_or(0, crashes),
        noted: known.is_some(),
        alone: alone == Some(1),
        parked: parked == Some(1),
        was_parked: parked == Some(2),
    })
}

/// How many of the attempts ended in the death of their instance.
fn crashes(attempts: &[u8]) -> u32 {
    #[derive(Deserialize)]
    struct Ended {
        #[serde(default)]
        lost: bool,
    }
    let list = [b"[", attempts, b"]"].concat();
    let ended: Vec<Ended> = serde_json::from_slice(&list).unwrap_or_default();
    ended.iter().filter(|ended| ended.lost).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_are_counted_among_the_attempts() {
        assert_eq!(
            crashes(br#"{"attempt":1,"lost":true},{"attempt":2,"error":"x"},{"attempt":3,"lost":true}"#),
            2
        );
        assert_eq!(crashes(b""), 0);
    }
}
