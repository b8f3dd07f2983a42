//! The consumer group: made at the start, made again when it is gone.

use redis::{Pipeline, cmd};

use super::core::{Core, Start};
use super::lane::Lane;
use super::scripts;
use crate::backend::command::again_stream;
use crate::backend::reply::{self, Attributes};
use crate::entry::EntryId;
use crate::error::{CommandError, PartitionsError};
use crate::partition::agree;

/// Sees to it that every stream has as many partitions as the handlers' events say.
///
/// # Errors
/// If one has another number, or the broker can't be reached.
pub(crate) async fn agree_all(core: &Core) -> Result<Result<(), PartitionsError>, CommandError> {
    for (topic, partitions) in &core.topics {
        if let Err(mismatch) = agree(&core.link, topic, *partitions).await? {
            return Ok(Err(mismatch));
        }
    }
    Ok(Ok(()))
}

/// Makes the group on every stream that has none; streams that do not exist are made too. A group that there was before, and that was lost
/// or destroyed, goes on where it was.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn create_all(core: &Core) -> Result<(), CommandError> {
    let start = match core.settings.start_at {
        Start::New => "$".to_owned(),
        Start::Beginning => "0".to_owned(),
        Start::Id(id) => id.to_string(),
    };
    for lane in core.lanes() {
        match saved(core, &lane).await? {
            Some(saved) => {
                let resumed = point(core, &lane, saved).await?;
                create(core, &lane.stream, &resumed.to_string()).await?;
            }
            None => {
                create(core, &lane.stream, &start).await?;
                // What is put aside in the first second is known by this alone if the group is lost.
                scripts::save_cursor(&core.link, &lane, &core.names.group).await?;
            }
        }
    }
    Ok(())
}

/// Begins to read the side streams that exist by now. They are made by the first entry that is redriven as a copy.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn find_sides(core: &Core) -> Result<(), CommandError> {
    let lanes = core.lanes();
    let missing: Vec<_> = lanes
        .iter()
        .filter(|lane| !lane.is_side())
        .map(|lane| (lane, again_stream(&lane.stream, &core.names.group)))
        .filter(|(_, key)| lanes.iter().all(|known| *known.stream != **key))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut questions = Pipeline::with_capacity(missing.len());
    for (_, key) in &missing {
        questions.cmd("EXISTS").arg(key);
    }
    let replies = core.link.send_all(&questions).await?;
    for ((lane, key), exists) in missing.into_iter().zip(replies) {
        if reply::integer(&exists?) == Some(1) {
            create(core, &key, "0").await?;
            core.add_side(lane);
            core.changed_readable();
        }
    }
    Ok(())
}

/// Makes the groups again if a refusal says that one is gone, or its stream. Says whether it does.
pub(crate) async fn heal_if_missing(core: &Core, error: &CommandError) -> bool {
    let is_missing = error.is_refused("NOGROUP") || error.is_refused("UNBLOCKED");
    if is_missing && let Err(error) = heal(core).await {
        tracing::warn!(%error, "the group is gone and can't be made again yet");
    }
    is_missing
}

/// Makes the groups that are gone from the broker, each before the lowest entry that was not acknowledged: as far as this process knows, and as was
/// saved at the broker about every second. Nothing is skipped; what was acknowledged beyond that comes again.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn heal(core: &Core) -> Result<(), CommandError> {
    for (topic, partitions) in &core.topics {
        if let Err(error) = agree(&core.link, topic, *partitions).await? {
            tracing::error!(%error, "the broker lost the stream, and somebody made it anew");
        }
    }
    for lane in core.lanes() {
        let held = core.held.lowest(lane.index).map(EntryId::previous);
        let known = match (held, saved(core, &lane).await?) {
            (Some(held), Some(saved)) => held.min(saved),
            (Some(known), None) | (None, Some(known)) => known,
            (None, None) => lane.cursor(),
        };
        let start = point(core, &lane, known).await?;
        if create(core, &lane.stream, &start.to_string()).await? {
            core.counters.groups_recreated.one();
            tracing::warn!(stream = %lane.stream, group = %core.names.group, %start, "the group was gone and is made again");
        }
    }
    Ok(())
}

/// After which entry the group would have to go on, as it was saved at the broker.
async fn saved(core: &Core, lane: &Lane) -> Result<Option<EntryId>, CommandError> {
    let saved = reply::text(core.link.send(cmd("GET").arg(&lane.cursor_key)).await?);
    Ok(saved.as_deref().and_then(parse))
}

/// `from ID`: that entry comes again; `after ID`: it does not.
fn parse(saved: &str) -> Option<EntryId> {
    let (word, id) = saved.split_once(' ')?;
    let id: EntryId = id.parse().ok()?;
    match word {
        "from" => Some(id.previous()),
        "after" => Some(id),
        _ => None,
    }
}

/// Where to begin, if everything up to `known` is done.
async fn point(core: &Core, lane: &Lane, known: EntryId) -> Result<EntryId, CommandError> {
    if newest(core, lane).await? < known {
        // The stream itself was lost, and ids may start anew: whatever is in it now is new.
        lane.rewind();
        return Ok(EntryId::ZERO);
    }
    Ok(known)
}

/// Whether it was not there.
async fn create(core: &Core, stream: &str, start: &str) -> Result<bool, CommandError> {
    let mut command = cmd("XGROUP");
    command.arg("CREATE").arg(stream).arg(&*core.names.group).arg(start).arg("MKSTREAM");
    match core.link.send(&command).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_refused("BUSYGROUP") => Ok(false),
        Err(error) => Err(error),
    }
}

/// The last id that the stream gave; zero if there is no such stream.
async fn newest(core: &Core, lane: &Lane) -> Result<EntryId, CommandError> {
    let mut questions = Pipeline::new();
    questions.cmd("XINFO").arg("STREAM").arg(&*lane.stream);
    match core.link.send_all(&questions).await?.into_iter().next() {
        Some(Ok(reply)) => {
            let id = Attributes::of(reply).and_then(|mut info| info.take("last-generated-id"));
            id.as_ref().and_then(reply::entry_id).ok_or(CommandError::Unexpected { command: "XINFO STREAM" })
        }
        _ => Ok(EntryId::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_cursor_is_read() {
        assert_eq!(parse("from 5-1"), Some(EntryId::new(5, 0)));
        assert_eq!(parse("after 5-1"), Some(EntryId::new(5, 1)));
        assert_eq!(parse("5-1"), None);
        assert_eq!(parse("until 5-1"), None);
    }
}
