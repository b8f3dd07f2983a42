//! Files that get their bytes at a sync, not before: `kill -9` of the process takes what a power cut would take.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cauce_log::{DirectoryError, FileStorage, Storage, StorageFile};

/// A directory whose files keep what is written to them in the memory of this process until they are synced.
///
/// Names are made and changed at once: what a disk may do with those, and with single sectors, is the matter of
/// [`cauce_log::FaultyStorage`].
#[derive(Debug)]
pub struct ForgetfulStorage {
    files: FileStorage,
    open: Mutex<HashMap<String, Arc<ForgetfulFile>>>,
}

impl ForgetfulStorage {
    /// Takes hold of a directory.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`], as [`FileStorage::open`].
    pub fn open(directory: &Path) -> Result<ForgetfulStorage, DirectoryError> {
        Ok(ForgetfulStorage { files: FileStorage::open(directory)?, open: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<ForgetfulFile>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All handles of one file see what was written through any of them.
    fn wrap(&self, name: &str, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let file = Arc::new(ForgetfulFile { file, unsynced: Mutex::default() });
        self.lock().insert(name.to_owned(), Arc::clone(&file));
        file
    }
}

impl Storage for ForgetfulStorage {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(name, self.files.create(name, size)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        if let Some(file) = self.lock().get(name) {
            return Ok(Arc::clone(file) as Arc<dyn StorageFile>);
        }
        Ok(self.wrap(name, self.files.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)?;
        let mut open = self.lock();
        open.remove(to);
        if let Some(file) = open.remove(from) {
            open.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)?;
        self.lock().remove(name);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.files.sync_directory()
    }
}

#[derive(Debug)]
struct ForgetfulFile {
    file: Arc<dyn StorageFile>,
    /// Writes since the last sync, in order: where, and what.
    unsynced: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl ForgetfulFile {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageFile for ForgetfulFile {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let unsynced = self.lock();
        self.file.read_at(at, into)?;
        let end = at + into.len() as u64;
        for (from, bytes) in unsynced.iter() {
            let (first, last) = ((*from).max(at), (from + bytes.len() as u64).min(end));
            if first < last {
                let place = |offset: u64, base: u64| usize::try_from(offset - base).unwrap_or(usize::MAX);
                into[place(first, at)..place(last, at)]
                    .copy_from_slice(&bytes[place(first, *from)..place(last, *from)]);
            }
        }
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().push((at, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut unsynced = self.lock();
        for (at, bytes) in unsynced.drain(..) {
            self.file.write_at(at, &bytes)?;
        }
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_reach_the_file_with_the_sync() {
        let directory = tempfile::tempdir().unwrap();
        let storage = ForgetfulStorage::open(directory.path()).unwrap();
        let file = storage.create("f", 8).unwrap();
        let on_disk = || std::fs::read(directory.path().join("f")).unwrap();
        file.write_at(2, b"abcd").unwrap();
        file.write_at(4, b"X").unwrap();
        let mut seen = [0; 4];
        storage.open("f").unwrap().read_at(3, &mut seen).unwrap();
        assert_eq!((&seen, on_disk()), (b"bXd\0", vec![0; 8]));
        file.sync().unwrap();
        assert_eq!(on_disk(), b"\0\0abXd\0\0");
    }
}
