//! Where the bytes of a block are: in memory, in a file, or both.

use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A file that sealed blocks were written to. The engine only asks for what was put there; it is let go when no block
/// of any clone of the state is in it any more.
pub trait BlockFile: Send + Sync + Debug {
    /// Tells the file from all others.
    fn number(&self) -> u64;

    /// Reads the bytes of a block, and checks them. Blocks the calling thread.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the bytes are not those that were written, or what the system says.
    fn read(&self, spot: BlockSpot) -> io::Result<Arc<[u8]>>;
}

/// Finds the files of blocks by their numbers, for a state that is restored.
pub trait BlockFiles {
    /// The file with this number; `None` if there is none.
    fn find(&self, number: u64) -> Option<Arc<dyn BlockFile>>;
}

/// Where a block lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSpot {
    /// Of its first byte.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
    /// Their checksum, as the file's owner reckons it.
    pub sum: u32,
}

/// A block in a file.
#[derive(Debug, Clone)]
pub struct BlockPlace {
    /// The file.
    pub file: Arc<dyn BlockFile>,
    /// Where in it.
    pub spot: BlockSpot,
}

impl std::fmt::Display for BlockPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "block file {}, byte {}", self.file.number(), self.spot.offset)
    }
}

impl BlockPlace {
    /// Reads the block, and checks it. Blocks the calling thread.
    ///
    /// # Errors
    /// See [`BlockFile::read`].
    pub fn read(&self) -> io::Result<Arc<[u8]>> {
        let bytes = self.file.read(self.spot)?;
        if bytes.len() == self.spot.len as usize { Ok(bytes) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Whether it is the same block of the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.spot == other.spot && self.file.number() == other.file.number()
    }
}

/// The encoded entries of a block.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    /// Grows at its end.
    Open(Vec<u8>),
    /// Never changes again: clones share it.
    Sealed(Arc<Sealed>),
    /// In a file. What was read of it is kept for a while.
    Stored { place: BlockPlace, loaded: OnceLock<Arc<[u8]>> },
}

/// The bytes of a sealed block in memory, and where it was written to meanwhile.
#[derive(Debug)]
pub(crate) struct Sealed {
    bytes: Box<[u8]>,
    place: OnceLock<BlockPlace>,
}

impl Sealed {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Notes where the block is on disk: from now on its memory may be given back.
    pub(crate) fn set_place(&self, place: BlockPlace) {
        // The first one stays: the block is in both.
        let _first = self.place.set(place);
    }
}

impl Bytes {
    pub(super) fn sealed(bytes: &[u8]) -> Self {
        Self::Sealed(Arc::new(Sealed { bytes: bytes.into(), place: OnceLock::new() }))
    }

    /// To be appended to. A sealed block is not.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Open(bytes) => bytes,
            _ => unreachable!("nothing is added to a sealed block"),
        }
    }

    pub(super) fn seal(&mut self) {
        if let Self::Open(bytes) = self {
            *self = Self::sealed(bytes);
        }
    }

    pub(super) fn is_sealed(&self) -> bool {
        !matches!(self, Self::Open(_))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Open(bytes) => bytes.len(),
            Self::Sealed(sealed) => sealed.bytes.len(),
            Self::Stored { place, .. } => place.spot.len as usize,
        }
    }

    /// The bytes; read here and now if they are in no memory. Commands have what they need
    /// [brought in](super::Entries::absent) before, so that is for whoever wants everything.
    ///
    /// # Panics
    /// If they cannot be read.
    #[inline]
    pub(super) fn get(&self) -> &[u8] {
        match self {
            Self::Open(bytes) => bytes,
            Self::Sealed(sealed) => &sealed.bytes,
            Self::Stored { place, loaded } => loaded.get_or_init(|| {
                place.read().unwrap_or_else(|error| {
                    panic!("block file {} at {}: {error}", place.file.number(), place.spot.offset)
                })
            }),
        }
    }

    /// Where the block is on disk, if it is.
    pub(super) fn place(&self) -> Option<&BlockPlace> {
        match self {
            Self::Open(_) => None,
            Self::Sealed(sealed) => sealed.place.get(),
            Self::Stored { place, .. } => Some(place),
        }
    }

    /// A sealed block that is not on disk.
    pub(super) fn unstored(&self) -> Option<&Arc<Sealed>> {
        match self {
            Self::Sealed(sealed) if sealed.place.get().is_none() => Some(sealed),
            _ => None,
        }
    }

    /// Where to read the block, if it is in no memory.
    pub(super) fn absent(&self) -> Option<&BlockPlace> {
        match self {
            Self::Stored { place, loaded } if loaded.get().is_none() => Some(place),
            _ => None,
        }
    }

    /// Puts bytes in that were read, if they are still missing.
    pub(super) fn supply(&self, from: &BlockPlace, bytes: &Arc<[u8]>) -> bool {
        match self {
            Self::Stored { place, loaded } if place.is_same(from) => loaded.set(Arc::clone(bytes)).is_ok(),
            _ => false,
        }
    }

    /// Lets the memory go of a block that is on disk, and says how many bytes that were.
    pub(super) fn evict(&mut self) -> Option<usize> {
        let place = self.place().filter(|_| self.absent().is_none())?.clone();
        let len = place.spot.len as usize;
        *self = Self::Stored { place, loaded: OnceLock::new() };
        Some(len)
    }

    /// Notes that the block is elsewhere now.
    pub(super) fn relocate(&mut self, to: BlockPlace) {
        assert_eq!(self.len(), to.spot.len as usize, "a block is moved as it is");
        let loaded = match self {
            Self::Stored { loaded, .. } => std::mem::take(loaded),
            Self::Sealed(sealed) => OnceLock::from(Arc::from(&*sealed.bytes)),
            Self::Open(_) => unreachable!("an open block is in no file"),
        };
        *self = Self::Stored { place: to, loaded };
    }
}

/// Whether something was used since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Used(AtomicBool);

impl Used {
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

impl Clone for Used {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.0.load(Ordering::Relaxed)))
    }
}
