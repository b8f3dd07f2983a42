//! `XDELEX key [KEEPREF|DELREF|ACKED] IDS numids id [id ...]` and
//! `XACKDEL key group [KEEPREF|DELREF|ACKED] IDS numids id [id ...]` (Redis 8.2)

use super::options::{IdBlock, References};
use super::xtrim::strip;
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::commands::{arg, from};
use crate::errors::Error;
use crate::keyspace::Slot;
use crate::notify::NotifyClasses;
use crate::records::{Effect, StreamEffect};
use crate::stream::{Needs, StreamId};

pub(super) const XDELEX: CommandSpec = CommandSpec {
    name: "xdelex",
    arity: -5,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "stream",
    since: "8.2.0",
    summary: "Deletes entries of a stream, with a say in what becomes of the groups' references to them.",
    complexity: "O(G) for each ID, with G being the number of consumer groups.",
    run: xdelex,
    subcommands: &[],
};

pub(super) const XACKDEL: CommandSpec = CommandSpec {
    name: "xackdel",
    arity: -6,
    summary: "Acknowledges entries in a consumer group and deletes them from the stream.",
    run: xackdel,
    ..XDELEX
};

/// What became of one id: the numbers of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    NotFound = -1,
    Gone = 1,
    StillNeeded = 2,
}

fn xdelex(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let key = arg(args, 1);
    let block = IdBlock::parse(from(args, 2))?;
    let Some(slot) = call.find_stream(key)? else { return Ok(none_found(call, &block)) };
    call.want(slot, &Needs::Ids(&block.ids));
    call.bring()?;
    let (stream, _) = call.stream_mut(slot);
    let delivered = stream.delivered_to_all();
    let respect = block.references == References::Respect;
    let mut fates = Vec::with_capacity(block.ids.len());
    for &id in &block.ids {
        fates.push(match () {
            () if !stream.entries().contains(id) => Fate::NotFound,
            () if respect && stream.is_needed(id, delivered) => Fate::StillNeeded,
            () => {
                stream.entries_mut().delete(id);
                Fate::Gone
            }
        });
    }
    let gone = block.ids.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Gone).map(|(&id, _)| id);
    record_deleted(call, slot, key, gone.collect());
    if block.references == References::Remove {
        // References to entries that were gone before go too.
        strip(call, slot, &block.ids);
    }
    Ok(write_fates(call, &fates))
}

fn xackdel(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (key, name) = (arg(args, 1), arg(args, 2));
    let block = IdBlock::parse(from(args, 3))?;
    let slot = call.find_stream(key)?.filter(|&slot| call.stream(slot).group(name).is_some());
    let Some(slot) = slot else { return Ok(none_found(call, &block)) };
    call.want(slot, &Needs::Ids(&block.ids));
    call.bring()?;
    let (stream, _) = call.stream_mut(slot);
    let delivered = stream.delivered_to_all();
    let respect = block.references == References::Respect;
    let (mut fates, mut acked, mut deleted) = (Vec::with_capacity(block.ids.len()), Vec::new(), Vec::new());
    for &id in &block.ids {
        if !stream.group_mut(name).is_some_and(|(group, _)| group.ack(id)) {
            fates.push(Fate::NotFound);
            continue;
        }
        acked.push(id);
        if respect && stream.entries().contains(id) && stream.is_needed(id, delivered) {
            fates.push(Fate::StillNeeded);
            continue;
        }
        if stream.entries_mut().delete(id) {
            deleted.push(id);
        }
        fates.push(Fate::Gone);
    }
    if !acked.is_empty() {
        let ids = (&acked[..]).into();
        call.record(slot, &Effect::Stream(StreamEffect::Ack { group: name, ids }));
    }
    record_deleted(call, slot, key, deleted);
    if block.references == References::Remove {
        strip(call, slot, &acked);
    }
    Ok(write_fates(call, &fates))
}

fn record_deleted(call: &mut Call<'_>, slot: Slot, key: &[u8], ids: Vec<StreamId>) {
    if !ids.is_empty() {
        call.record(slot, &Effect::Stream(StreamEffect::Delete { ids: ids.into() }));
        call.notify(NotifyClasses::STREAM, "xdel", key);
    }
}

/// The reply where there is no stream or group.
fn none_found(call: &mut Call<'_>, block: &IdBlock) -> Flow {
    write_fates(call, &vec![Fate::NotFound; block.ids.len()])
}

fn write_fates(call: &mut Call<'_>, fates: &[Fate]) -> Flow {
    call.reply.array(fates.len());
    fates.iter().for_each(|&fate| call.reply.integer(fate as i64));
    Flow::Done
}
