//! Where segments lie: the one seam between the log and the disk.

#[cfg(target_os = "linux")]
mod direct;
mod faulty;
mod files;
#[cfg(any(test, feature = "seeded-faults"))]
mod forgetful;
mod frozen;
mod memory;
mod pieces;
mod read_only;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use faulty::{FaultyStorage, Outage};
pub use files::{DirectoryError, FileStorage};
#[cfg(any(test, feature = "seeded-faults"))]
pub(crate) use forgetful::Forgetful;
pub use frozen::FrozenStorage;
pub use memory::MemoryStorage;
pub use read_only::ReadOnlyStorage;

/// A directory of files of fixed size.
///
/// What was created, renamed or removed is only certain to survive a power cut after [`Storage::sync_directory`].
pub trait Storage: Send + Sync + Debug {
    /// Makes a file of `size` zeros that really occupy the disk: overwriting them later needs no more room. They are
    /// synced; the name is not. If it fails, nothing is left behind that takes up room.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] without room for it, [`io::ErrorKind::AlreadyExists`], or what the system says.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn StorageFile>>;

    /// The same, in pieces: between them `rest` is asked, with the bytes that are there by now, which may wait so that others have the disk
    /// too, and gives it up by saying `false`.
    ///
    /// # Errors
    /// As [`Storage::create`]; [`io::ErrorKind::Interrupted`] if it was given up.
    fn create_in_pieces(
        &self,
        name: &str,
        size: u64,
        _rest: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<Arc<dyn StorageFile>> {
        self.create(name, size)
    }

    /// Makes a file of these bytes and syncs them; the name is not synced. If it fails, nothing is left behind that
    /// takes up room.
    ///
    /// # Errors
    /// As [`Storage::create`].
    fn write_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.create(name, bytes.len() as u64)?;
        let written = file.write_at(0, bytes).and_then(|()| file.sync());
        if written.is_err() {
            // If it cannot be removed either, it is one that nobody asks for.
            let _removed = self.remove(name);
        }
        written
    }

    /// Opens a file to read and overwrite it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives a file another name; one that has that name already is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, in no particular order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes the names durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One file. Stays usable after it was renamed.
pub trait StorageFile: Send + Sync + Debug {
    /// Bytes of the file; never changes.
    fn size(&self) -> u64;

    /// Fills `into` from offset `at` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] beyond the end, or what the system says.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Overwrites from offset `at` on, inside the file. After an error any part of it may be written.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// The same behind everything that was written to the file before: what lies behind the bytes may be lost. Quicker, if
    /// a sync follows.
    ///
    /// # Errors
    /// What the system says.
    fn write_on(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(at, bytes)
    }

    /// Makes everything durable that was written before the call. After an error nothing is known of what was
    /// written since the last success, and asking again does not tell: the system may have dropped it.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;
}

/// `len` bytes from `at` on, of a file in memory.
fn part(bytes: &[u8], at: u64, len: usize) -> io::Result<&[u8]> {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    bytes.get(start..start.saturating_add(len)).ok_or(io::ErrorKind::UnexpectedEof.into())
}

fn part_mut(bytes: &mut [u8], at: u64, len: usize) -> io::Result<&mut [u8]> {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    bytes.get_mut(start..start.saturating_add(len)).ok_or(io::ErrorKind::UnexpectedEof.into())
}
