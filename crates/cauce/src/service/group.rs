//! The consumer group: made at the start, made again when it is gone.

use redis::{Pipeline, cmd};

use super::core::{Core, Start};
use super::lane::Lane;
use crate::backend::command::again_stream;
use crate::backend::reply::{self, Attributes};
use crate::entry::EntryId;
use crate::error::CommandError;

/// Makes the group on every stream that has none; streams that do not exist are made too.
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
        create(core, &lane.stream, &start).await?;
    }
    Ok(())
}

/// Begins to read the side streams that exist by now. They are made by the first entry that is redriven as a copy.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn find_sides(core: &Core) -> Result<(), CommandError> {
    let lanes = core.lanes();
    for lane in lanes.iter().filter(|lane| !lane.is_side()) {
        let key = again_stream(&lane.stream, &core.names.group);
        if lanes.iter().any(|known| *known.stream == *key) {
            continue;
        }
        let exists = core.link.send(cmd("EXISTS").arg(&key)).await?;
        if reply::integer(&exists) == Some(1) {
            create(core, &key, "0").await?;
            core.add_side(lane);
            // A read that is blocked does not know of it.
            core.unblock_reader().await?;
        }
    }
    Ok(())
}

/// Makes the groups that are gone from the broker, each where this process knows that everything before is done: before the
/// first entry that it holds, or after the newest that it was given. Nothing is skipped; what others had acknowledged beyond that
/// comes again.
///
/// # Errors
/// If the broker can't be reached or refuses.
pub(crate) async fn heal(core: &Core) -> Result<(), CommandError> {
    for lane in core.lanes() {
        let known = core.held.lowest(lane.index).map_or_else(|| lane.cursor(), EntryId::previous);
        let start = match newest(core, &lane).await? {
            // The stream itself was lost, and ids may start anew: whatever is in it now is new.
            newest if newest < known => {
                lane.rewind();
                EntryId::ZERO
            }
            _ => known,
        };
        if create(core, &lane.stream, &start.to_string()).await? {
            core.counters.groups_recreated.one();
            tracing::warn!(stream = %lane.stream, group = %core.names.group, %start, "the group was gone and is made again");
        }
    }
    Ok(())
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
