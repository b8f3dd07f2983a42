//! Blocks of streams on disk: written by checkpoints, read for commands that look at history.
//!
//! A command that needs blocks which are on disk only ends without having changed anything; they are read on a thread
//! where blocking is allowed, without the engine's lock, and the command is run again. Its connection's later commands
//! wait meanwhile, nobody else's do.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cauce_engine::stream::{BlockFile, BlockFiles, BlockPlace, BlockSpot};
use cauce_engine::{AbsentBlock, BlockStore, SessionId};
use cauce_log::{
    BlockExtent, BlockFileWriter, Storage, block_file_name, block_files, read_block, remove_block_files,
};

use crate::outbox::Outbox;
use crate::shared::{BatchEnd, Shared, release};

/// A file of blocks ends behind the block that makes it so long.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Commands that read from disk at a time; more wait for their turn.
pub(crate) const READERS_MAX: usize = 8;

/// The files of blocks of one broker.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    storage: Arc<dyn Storage>,
    /// Those that the state names, or may still name.
    known: Arc<Mutex<HashMap<u64, Weak<File>>>>,
}

#[derive(Debug)]
struct File {
    storage: Arc<dyn Storage>,
    number: u64,
}

impl BlockFile for File {
    fn number(&self) -> u64 {
        self.number
    }

    fn read(&self, spot: BlockSpot) -> io::Result<Arc<[u8]>> {
        let extent = BlockExtent { offset: spot.offset, len: spot.len, sum: spot.sum };
        read_block(&*self.storage, self.number, extent)
    }
}

impl Files {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, known: Arc::default() }
    }

    fn get(&self, number: u64) -> Arc<File> {
        let mut known = self.lock();
        if let Some(file) = known.get(&number).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::new(File { storage: Arc::clone(&self.storage), number });
        known.insert(number, Arc::downgrade(&file));
        file
    }

    /// Begins to write blocks to new files.
    pub(crate) fn store(&self) -> io::Result<Store<'_>> {
        let on_disk = block_files(&*self.storage)?.into_iter().max();
        let known = self.lock().keys().max().copied();
        let next = on_disk.max(known).unwrap_or_default() + 1;
        Ok(Store { files: self, next, open: None, written: Vec::new() })
    }

    /// The numbers and sizes of the files that places are in, and how many bytes of each are used.
    pub(crate) fn usage<'p>(&self, places: impl Iterator<Item = &'p BlockPlace>) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for place in places {
            let file = usage.files.entry(place.file.number()).or_default();
            file.used += u64::from(place.spot.len);
            usage.blocks += 1;
        }
        for (&number, file) in &mut usage.files {
            file.size = self.storage.open(&block_file_name(number))?.size();
        }
        Ok(usage)
    }

    /// Removes the files that neither a checkpoint nor the state needs any more.
    pub(crate) fn remove_unused(&self, named: &Usage) -> io::Result<()> {
        let mut known = self.lock();
        known.retain(|_, file| file.strong_count() > 0);
        remove_block_files(&*self.storage, |number| {
            named.files.contains_key(&number) || known.contains_key(&number)
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<File>>> {
        // Every change is complete before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockFiles for Files {
    fn find(&self, number: u64) -> Option<Arc<dyn BlockFile>> {
        // The checkpoint's list was compared with what is there.
        Some(self.get(number))
    }
}

/// What a state uses of the files of blocks.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    files: BTreeMap<u64, FileUsage>,
    pub(crate) blocks: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct FileUsage {
    size: u64,
    used: u64,
}

impl Usage {
    /// Numbers and sizes of the files.
    pub(crate) fn sizes(&self) -> Vec<(u64, u64)> {
        self.files.iter().map(|(&number, file)| (number, file.size)).collect()
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }

    /// The files whose blocks are better moved: less than half of the file is used; or it is small, and there are many
    /// such.
    pub(crate) fn wasteful(&self) -> Vec<u64> {
        const SMALL_BYTES: u64 = 1024 * 1024;
        const SMALL_FILES_MAX: usize = 32;
        let small = self.files.values().filter(|file| file.size < SMALL_BYTES).count();
        let is_wasteful = |file: &FileUsage| {
            file.used < file.size / 2 || file.size < SMALL_BYTES && small > SMALL_FILES_MAX
        };
        self.files.iter().filter(|(_, file)| is_wasteful(file)).map(|(&number, _)| number).collect()
    }
}

/// Writes blocks to files.
#[derive(Debug)]
pub(crate) struct Store<'f> {
    files: &'f Files,
    next: u64,
    open: Option<(BlockFileWriter, Arc<File>)>,
    /// Finished files: held, so that they are not taken for unused.
    written: Vec<Arc<File>>,
}

impl BlockStore for Store<'_> {
    type Error = io::Error;

    fn put(&mut self, bytes: &[u8]) -> io::Result<BlockPlace> {
        let (writer, file) = match &mut self.open {
            Some(open) => open,
            None => {
                let number = self.next;
                self.next += 1;
                self.open.insert((BlockFileWriter::new(number), self.files.get(number)))
            }
        };
        let BlockExtent { offset, len, sum } = writer.put(bytes)?;
        let place = BlockPlace { file: Arc::clone(file) as _, spot: BlockSpot { offset, len, sum } };
        if writer.size() >= FILE_BYTES {
            self.flush()?;
        }
        Ok(place)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some((writer, file)) = self.open.take() {
            writer.finish(&*self.files.storage)?;
            self.written.push(file);
        }
        Ok(())
    }
}

impl Shared {
    /// Reads what a command needs and runs it again; its reply goes to `outbox`, and its session goes on.
    pub(crate) fn fetch(&self, id: SessionId, outbox: Arc<Outbox>, absent: Vec<AbsentBlock>) {
        let weak = self.own.get().cloned().unwrap_or_default();
        let turns = Arc::clone(&self.block_readers);
        tokio::spawn(async move {
            let mut absent = absent;
            loop {
                // It is never closed.
                let Ok(_turn) = turns.acquire().await else { return };
                let Ok(read) = tokio::task::spawn_blocking(move || read_all(absent)).await else { return };
                let Some(shared) = weak.upgrade() else { return };
                match shared.resume(id, &outbox, read).await {
                    Resumed::Ended(end) => return release(&outbox, end),
                    Resumed::NeedsMore(more) => absent = more,
                }
            }
        });
    }

    /// Runs the command again under the lock; on a thread that may wait for it, if a script keeps it.
    async fn resume(self: Arc<Self>, id: SessionId, outbox: &Arc<Outbox>, read: Read) -> Resumed {
        if !self.busy.is_set() {
            return self.run_resumed(id, outbox, &read);
        }
        let outbox = Arc::clone(outbox);
        let resumed = tokio::task::spawn_blocking(move || self.run_resumed(id, &outbox, &read)).await;
        resumed.unwrap_or(Resumed::Ended(BatchEnd::Close))
    }
}

/// How a command ended that was run again.
pub(crate) enum Resumed {
    Ended(BatchEnd),
    NeedsMore(Vec<AbsentBlock>),
}

/// What was read for a command.
pub(crate) struct Read {
    pub(crate) blocks: Vec<(AbsentBlock, Arc<[u8]>)>,
    /// Why one of them could not be read.
    pub(crate) unreadable: Option<String>,
}

fn read_all(absent: Vec<AbsentBlock>) -> Read {
    let mut read = Read { blocks: Vec::with_capacity(absent.len()), unreadable: None };
    for block in absent {
        match block.place().read() {
            Ok(bytes) => read.blocks.push((block, bytes)),
            Err(error) => {
                read.unreadable = Some(format!("{}: {error}", block.place()));
                break;
            }
        }
    }
    read
}
