//! Files in a directory that one process holds at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use super::direct::Direct;
use super::pieces::{PIECE_MAX, write_whole};
use super::{Storage, StorageFile};

const LOCK: &str = "LOCK";
/// How long a holder that is just ending is waited for.
const LEAVING_MAX: Duration = Duration::from_millis(300);
const LEAVING_POLL: Duration = Duration::from_millis(10);
/// Only the owner may read the events of others.
const MODE: u32 = 0o600;
/// File systems on which neither locks nor syncs can be relied on.
const NETWORK: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse.glusterfs",
    "fuse.sshfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
];

/// A directory, held under a lock until this is dropped.
#[derive(Debug)]
pub struct FileStorage {
    directory: PathBuf,
    /// Locked for as long as it is open; `exec` closes it.
    _lock: File,
}

/// A directory that cannot be held.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process holds it.
    #[error(
        "{} is held by another process{}; stop that one, or use another directory",
        directory.display(), holder.map(named).unwrap_or_default()
    )]
    Held {
        /// The directory.
        directory: PathBuf,
        /// Who holds it, if it said so.
        holder: Option<u32>,
    },
    /// It lies on another machine.
    #[error(
        "{} lies on a network file system ({kind}), where neither locks nor syncs can be relied on; use a local disk",
        directory.display()
    )]
    Network {
        /// The directory.
        directory: PathBuf,
        /// Name of the file system.
        kind: String,
    },
    /// The system refuses.
    #[error("cannot use the directory {}: {source}", directory.display())]
    Refused {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileStorage {
    /// Takes hold of a directory; makes it if it is missing.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub fn open(directory: &Path) -> Result<Self, DirectoryError> {
        let refused = |source| DirectoryError::Refused { directory: directory.to_owned(), source };
        let lock = lock_file(directory)?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Self::hold(directory, lock).map_err(refused),
                Err(TryLockError::WouldBlock) if began.elapsed() < LEAVING_MAX => {
                    std::thread::sleep(LEAVING_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = Self::holder(directory);
                    return Err(DirectoryError::Held { directory: directory.to_owned(), holder });
                }
                Err(TryLockError::Error(source)) => return Err(refused(source)),
            }
        }
    }

    /// The same, but waits on the calling thread for as long as another process (or another holder in this one) has the
    /// directory. Of several that wait, one gets it when its holder ends, however that ends.
    ///
    /// # Errors
    /// [`DirectoryError`], never [`DirectoryError::Held`].
    pub fn wait(directory: &Path) -> Result<Self, DirectoryError> {
        let refused = |source| DirectoryError::Refused { directory: directory.to_owned(), source };
        let lock = lock_file(directory)?;
        loop {
            match lock.lock() {
                Ok(()) => return Self::hold(directory, lock).map_err(refused),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(refused(source)),
            }
        }
    }

    /// The process that holds a directory, or held it last.
    #[must_use]
    pub fn holder(directory: &Path) -> Option<u32> {
        fs::read_to_string(directory.join(LOCK)).ok()?.trim().parse().ok()
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn hold(directory: &Path, mut lock: File) -> io::Result<Self> {
        // Only for those who ask who it is: the lock itself is what counts.
        let told = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        told.or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Storage for FileStorage {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.create_in_pieces(name, size, &mut |_| true)
    }

    fn create_in_pieces(
        &self,
        name: &str,
        size: u64,
        rest: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&path)?;
        let zeros = vec![0; PIECE_MAX];
        let piece = |_, length| zeros.get(..length).unwrap_or(&zeros);
        if let Err(error) = write_whole(&file, size, piece, rest) {
            drop(file);
            // If it cannot be removed either, the next opening tries again.
            let _removed = fs::remove_file(path);
            return Err(error);
        }
        Ok(Arc::new(OpenFile::new(file, size)))
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&path)?;
        let piece = |at, length| {
            let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            rest.get(..length).unwrap_or(rest)
        };
        let mut begun = Instant::now();
        let written = write_whole(&file, bytes.len() as u64, piece, &mut |_| {
            // Commits have the disk for as long.
            std::thread::sleep(begun.elapsed());
            begun = Instant::now();
            true
        });
        if written.is_err() {
            let _removed = fs::remove_file(path);
        }
        written
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        let size = file.metadata()?.len();
        Ok(Arc::new(OpenFile::new(file, size)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }
}

/// Makes the directory if it is missing, and opens the file whose lock says who holds it.
fn lock_file(directory: &Path) -> Result<File, DirectoryError> {
    let refused = |source| DirectoryError::Refused { directory: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(refused)?;
    // Its own name has to survive a power cut too.
    let parent = directory.canonicalize().map_err(refused)?;
    if let Some(parent) = parent.parent() {
        sync_directory(parent).map_err(refused)?;
    }
    if let Some(kind) = file_system(directory).filter(|kind| NETWORK.contains(&kind.as_str())) {
        return Err(DirectoryError::Network { directory: directory.to_owned(), kind });
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE).open(directory.join(LOCK)).map_err(refused)
}

/// A process, with the name of its program where the system tells it.
fn named(process: u32) -> String {
    let program = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    match program.trim() {
        "" => format!(" (number {process})"),
        program => format!(" (number {process}, `{program}`)"),
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    size: u64,
    #[cfg(target_os = "linux")]
    direct: Mutex<DirectWay>,
}

/// Whether a file is written past the cache.
#[cfg(target_os = "linux")]
#[derive(Debug, Default)]
enum DirectWay {
    #[default]
    Untried,
    Open(Direct),
    /// This file system cannot.
    Closed,
}

impl OpenFile {
    fn new(file: File, size: u64) -> Self {
        Self {
            file,
            size,
            #[cfg(target_os = "linux")]
            direct: Mutex::default(),
        }
    }
}

impl StorageFile for OpenFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(at + bytes.len() as u64 <= self.size, "files do not grow");
        self.file.write_all_at(bytes, at)
    }

    #[cfg(target_os = "linux")]
    fn write_on(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(at + bytes.len() as u64 <= self.size, "files do not grow");
        // Whoever panicked has written nothing that counts.
        let mut way = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*way, DirectWay::Untried) {
            let direct = Direct::of(&self.file).ok().filter(|_| Direct::fits(self.size));
            *way = direct.map_or(DirectWay::Closed, DirectWay::Open);
        }
        if let DirectWay::Open(direct) = &mut *way {
            match direct.write(&self.file, at, bytes) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => *way = DirectWay::Closed,
                written => return written,
            }
        }
        self.file.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The kind of file system that a directory lies on, where the system tells it.
fn file_system(directory: &Path) -> Option<String> {
    let device = fs::metadata(directory).ok()?.dev();
    file_system_of(device, &fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Looks a device up in the table of mounts: `id parent major:minor root path options... - kind source options`.
fn file_system_of(device: u64, mounts: &str) -> Option<String> {
    let major = (device >> 8 & 0xfff) | (device >> 32 & 0xffff_f000);
    let minor = (device & 0xff) | (device >> 12 & 0xffff_ff00);
    let wanted = format!("{major}:{minor}");
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&wanted))?;
    line.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_in_pieces_and_given_up_between_them() {
        // Not in memory, where nothing is written past the cache.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let storage = FileStorage::open(directory.path()).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        for length in [0, 1, 4096, 65_536, 200_000, 3_000_000] {
            let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
            storage.write_new("new", &bytes).unwrap();
            assert!(fs::read(directory.path().join("new")).unwrap() == bytes, "{length} bytes");
            storage.remove("new").unwrap();

            let mut asked = Vec::new();
            let made = storage.create_in_pieces("zeros", length as u64, &mut |made| {
                asked.push(made);
                true
            });
            assert_eq!(made.unwrap().size(), length as u64);
            assert_eq!(fs::read(directory.path().join("zeros")).unwrap(), vec![0; length]);
            assert!(asked.is_sorted() && asked.iter().all(|&made| 0 < made && made < length as u64));
            assert_eq!(asked.is_empty(), length <= 65_536, "{length} bytes");
            storage.remove("zeros").unwrap();
        }
        let given_up = storage.create_in_pieces("zeros", 3_000_000, &mut |_| false);
        assert_eq!(given_up.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert!(!directory.path().join("zeros").exists());
    }

    #[test]
    fn the_table_of_mounts_names_file_systems() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      30 22 0:46 / /mnt/far rw - nfs4 host:/far rw,vers=4.2\n";
        assert_eq!(file_system_of(0x801, mounts).as_deref(), Some("ext4"));
        assert_eq!(file_system_of(46, mounts).as_deref(), Some("nfs4"));
        assert_eq!(file_system_of(47, mounts), None);
    }
}
