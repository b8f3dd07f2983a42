//! A directory that is only looked at.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Storage, StorageFile};

/// The files of a directory, to read. Takes no lock: another process may hold the directory and write to it, so what is
/// read may be of different moments (see [`crate::inspect`]). Whatever would change something fails with
/// [`io::ErrorKind::ReadOnlyFilesystem`].
#[derive(Debug)]
pub struct ReadOnlyStorage {
    directory: PathBuf,
}

impl ReadOnlyStorage {
    /// Looks at a directory.
    ///
    /// # Errors
    /// What the system says if it is none or may not be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::read_dir(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for ReadOnlyStorage {
    fn create(&self, _: &str, _: u64) -> io::Result<Arc<dyn StorageFile>> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = File::open(self.directory.join(name))?;
        let size = file.metadata()?.len();
        Ok(Arc::new(ReadOnlyFile { file, size }))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn sync_directory(&self) -> io::Result<()> {
        refused()
    }
}

#[derive(Debug)]
struct ReadOnlyFile {
    file: File,
    size: u64,
}

impl StorageFile for ReadOnlyFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }
}
