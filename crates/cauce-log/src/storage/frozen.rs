//! A storage that is only looked at.

use std::io;
use std::sync::Arc;

use super::{Storage, StorageFile};

/// Shows a storage as it is, and keeps every change from it: what is overwritten, renamed or removed through this seems
/// to succeed and never reaches it. For reading a log from a disk that must not be written to any more.
#[derive(Debug)]
pub struct FrozenStorage(Arc<dyn Storage>);

impl FrozenStorage {
    /// Looks at that storage.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self(storage)
    }
}

impl Storage for FrozenStorage {
    fn create(&self, _name: &str, _size: u64) -> io::Result<Arc<dyn StorageFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(FrozenFile(self.0.open(name)?)))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct FrozenFile(Arc<dyn StorageFile>);

impl StorageFile for FrozenFile {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(at, into)
    }

    fn write_at(&self, _at: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
