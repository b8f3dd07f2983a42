//! Blocks of streams that are on disk: who brings them into memory, and who lets them go.
//!
//! A command names what it will read before it changes anything ([`Call::want`], [`Call::bring`]). If some of it is
//! on disk only, the command ends there, with [`Outcome::NeedsBlocks`](crate::Outcome::NeedsBlocks), and is run again when
//! the caller has read it. What cannot wait (a command in a transaction or a script, a record that is replayed) reads at
//! once.

use std::sync::Arc;

use super::{Core, Engine};
use crate::call::Call;
use crate::errors::{self, Error};
use crate::keyspace::{Object, Slot};
use crate::outputs::{Outcome, Outputs};
use crate::session::SessionId;
use crate::stream::{BlockFiles, BlockPlace, Needs};
use crate::time::Timestamp;

/// How often a command is run again because it needs more; the next time it reads by itself.
pub(super) const FETCHES_MAX: u32 = 4;
/// Keys and pages that are looked at after one command to let memory go.
const SWEEP_STEPS: u32 = 16;

/// A block that a command needs and that is on disk only: see [`Outputs::absent`].
#[derive(Debug, Clone)]
pub struct AbsentBlock {
    database: usize,
    key: Arc<[u8]>,
    serial: u64,
    place: BlockPlace,
}

impl AbsentBlock {
    /// Where to read it.
    #[must_use]
    pub fn place(&self) -> &BlockPlace {
        &self.place
    }
}

/// A command that waits for blocks.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(super) args: Vec<Box<[u8]>>,
    pub(super) rounds: u32,
}

/// How much of the blocks on disk is in memory too. A look at everything costs a step per page of blocks, so it is taken
/// only when there may be too much, a few pages at a time.
#[derive(Debug, Default)]
pub(crate) struct BlockMemory {
    /// Bytes in memory that could be let go, at most: what streams lose otherwise is found out by looking.
    bytes: u64,
    /// Where the look goes on: database, cursor of its keys, page.
    hand: (usize, usize, usize),
    /// Bytes found since the look began at the first key, and those that came meanwhile.
    found: u64,
    came: u64,
    /// Some block is or was on disk.
    any: bool,
    /// Blocks read from disk so far, and their bytes.
    pub(crate) reads: u64,
    pub(crate) read_bytes: u64,
    /// Blocks that could not be read.
    pub(crate) failures: u64,
}

impl BlockMemory {
    fn add(&mut self, bytes: u64) {
        self.any = true;
        self.bytes += bytes;
        self.came += bytes;
    }

    /// Whether any block may be on disk only.
    pub(crate) fn may_be_absent(&self) -> bool {
        self.any
    }

    /// Bytes in memory that could be let go, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Engine {
    /// Hands in the files that a restored state names.
    pub fn set_block_files(&mut self, files: Box<dyn BlockFiles + Send>) {
        self.core.block_files.0 = Some(files);
        self.core.block_memory.any = true;
    }

    /// Puts in a block that was read for a command; nothing happens if it is not missing any more.
    pub fn supply(&mut self, block: &AbsentBlock, bytes: &Arc<[u8]>) {
        self.core.supply(block, bytes);
    }

    /// Runs a command again that ended as [`Outcome::NeedsBlocks`], once its blocks were supplied; or answers it with an
    /// error, if `unreadable` says which block cannot be read and why. As with [`Engine::apply`] the reply is in `out`.
    pub fn resume(
        &mut self,
        now: Timestamp,
        by: SessionId,
        unreadable: Option<&str>,
        out: &mut Outputs,
    ) -> Outcome {
        let outcome = self.core.resume(now, by, unreadable, out);
        self.finish_apply(now, out);
        outcome
    }

    /// Notes that blocks of so many bytes are on disk now, so that their memory may be let go.
    pub fn stored(&mut self, bytes: u64) {
        self.core.block_memory.add(bytes);
        self.core.let_blocks_go();
    }

    /// Notes for some of the blocks where they are on disk now, going on at `from` (database, key, page; zeros to begin
    /// with). Says where to go on; `None` at the end.
    pub fn relocate(
        &mut self,
        from: (usize, usize, usize),
        moved: &impl Fn(&BlockPlace) -> Option<BlockPlace>,
    ) -> Option<(usize, usize, usize)> {
        self.core.relocate(from, moved)
    }
}

/// Who finds files of blocks, if there are any.
#[derive(Default)]
pub(crate) struct Files(pub(crate) Option<Box<dyn BlockFiles + Send>>);

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Files").field(&self.0.is_some()).finish()
    }
}

impl Core {
    fn supply(&mut self, block: &AbsentBlock, bytes: &Arc<[u8]>) {
        self.block_memory.reads += 1;
        self.block_memory.read_bytes += bytes.len() as u64;
        let Some(database) = self.databases.get_mut(block.database) else { return };
        let Some(slot) = database.slot(&block.key) else { return };
        let Object::Stream(stream) = &mut database.entry_mut(slot).object else { return };
        if Arc::make_mut(stream).entries_mut().supply(block.serial, &block.place, bytes) {
            self.block_memory.add(bytes.len() as u64);
        }
    }

    fn resume(
        &mut self,
        now: Timestamp,
        by: SessionId,
        unreadable: Option<&str>,
        out: &mut Outputs,
    ) -> Outcome {
        let Some(fetching) = self.sessions.get_mut(&by).and_then(|session| session.fetching.take()) else {
            return Outcome::Replied;
        };
        let args: Vec<&[u8]> = fetching.args.iter().map(|arg| &**arg).collect();
        if let Some(why) = unreadable {
            self.block_memory.failures += 1;
            return self.answer_error(by, &errors::unreadable_block(why), out);
        }
        self.dispatch_again(now, by, &args, fetching.rounds, out)
    }

    pub(super) fn count_load(&mut self, bytes: u64) {
        if bytes > 0 {
            self.block_memory.reads += 1;
            self.block_memory.read_bytes += bytes;
            self.block_memory.add(bytes);
        }
    }

    /// Lets blocks go that were not used lately, if more of them are in memory than may be.
    pub(super) fn let_blocks_go(&mut self) {
        let limit = self.settings.stream_memory;
        if limit == 0 {
            return;
        }
        for _ in 0..SWEEP_STEPS {
            if self.block_memory.bytes <= limit {
                break;
            }
            self.sweep();
        }
    }

    /// Looks at one page of blocks, or goes on to the next key.
    fn sweep(&mut self) {
        let memory = &mut self.block_memory;
        let (at, cursor, page) = memory.hand;
        let Some(database) = self.databases.get_mut(at) else {
            // Once around: what is there is known but for what came meanwhile.
            memory.bytes = memory.bytes.min(memory.found + memory.came);
            (memory.hand, memory.found, memory.came) = ((0, 0, 0), 0, 0);
            return;
        };
        let next = database.streams_from(cursor);
        let Some((slot, entry, after)) = next else {
            memory.hand = (at + 1, 0, 0);
            return;
        };
        // Another key than the one whose pages were looked at.
        let page = if after == cursor + 1 { page } else { 0 };
        let warm = matches!(&entry.object, Object::Stream(stream) if stream.entries().is_warm(page));
        if !warm {
            memory.hand = (at, after, 0);
            return;
        }
        let Object::Stream(stream) = &mut database.entry_mut(slot).object else { return };
        match Arc::make_mut(stream).entries_mut().sweep(page) {
            None => memory.hand = (at, after, 0),
            Some((next_page, swept)) => {
                memory.hand = (at, after - 1, next_page);
                memory.found += swept.left;
                memory.bytes = memory.bytes.saturating_sub(swept.freed);
            }
        }
    }

    fn relocate(
        &mut self,
        (at, cursor, page): (usize, usize, usize),
        moved: &impl Fn(&BlockPlace) -> Option<BlockPlace>,
    ) -> Option<(usize, usize, usize)> {
        let database = self.databases.get_mut(at)?;
        let Some((slot, _, after)) = database.streams_from(cursor) else { return Some((at + 1, 0, 0)) };
        let page = if after == cursor + 1 { page } else { 0 };
        let Object::Stream(stream) = &mut database.entry_mut(slot).object else {
            return Some((at, after, 0));
        };
        match Arc::make_mut(stream).entries_mut().relocate(page, moved) {
            None => Some((at, after, 0)),
            Some(count) => {
                if count > 0 {
                    self.touched.note_moved(at, &database.entry(slot).key);
                }
                Some((at, after - 1, page + 1))
            }
        }
    }
}

impl Call<'_> {
    /// Notes what will be read of a stream: to be said before anything is changed, and followed by [`Call::bring`].
    pub(crate) fn want(&mut self, slot: Slot, needs: &Needs<'_>) {
        let db = self.db;
        let entry = self.core.database(db).entry(slot);
        let Object::Stream(stream) = &entry.object else { return };
        let absent = stream.entries().absent(needs);
        if absent.is_empty() {
            return;
        }
        let key: Arc<[u8]> = Arc::from(&*entry.key);
        let absent = absent.into_iter().map(|absent| AbsentBlock {
            database: db,
            key: Arc::clone(&key),
            serial: absent.serial,
            place: absent.place,
        });
        self.core.absent.extend(absent);
    }

    /// Sees to it that everything is in memory that was wanted. The command must end with this error, if there is one,
    /// before it has changed anything: it is run again when the blocks are there.
    pub(crate) fn bring(&mut self) -> Result<(), Error> {
        if self.core.absent.is_empty() {
            return Ok(());
        }
        let bytes: u64 = self.core.absent.iter().map(|block| u64::from(block.place.spot.len)).sum();
        if bytes > self.core.settings.stream_read_max {
            self.core.absent.clear();
            return Err(errors::TOO_MUCH_HISTORY);
        }
        if self.may_fetch {
            return Err(errors::BLOCKS_ABSENT);
        }
        for block in std::mem::take(&mut self.core.absent) {
            match block.place.read() {
                Ok(bytes) => self.core.supply(&block, &bytes),
                Err(error) => {
                    self.core.block_memory.failures += 1;
                    return Err(errors::unreadable_block(&format!("{}: {error}", block.place)));
                }
            }
        }
        Ok(())
    }
}
