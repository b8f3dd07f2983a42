//! Writing whole files beside a log for which others wait: in pieces, so that the disk is never busy with one for long. Past the system's
//! cache where that is possible: a piece is on the disk then once it is written, and there is little left to be synced. Elsewhere each is
//! synced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

#[cfg(target_os = "linux")]
use super::direct::Direct;

/// Pieces past the cache, which cost no sync, and through it.
#[cfg(target_os = "linux")]
const DIRECT_BYTES: usize = 64 * 1024;
const CACHED_BYTES: usize = 1024 * 1024;

/// A new file that is being written.
pub(super) struct Pieces<'f> {
    file: &'f File,
    #[cfg(target_os = "linux")]
    direct: Option<Direct>,
}

impl<'f> Pieces<'f> {
    pub(super) fn of(file: &'f File) -> Self {
        Self {
            file,
            #[cfg(target_os = "linux")]
            direct: Direct::of(file).ok(),
        }
    }

    /// The most bytes of a piece; all but the last have as many.
    pub(super) fn length(&self) -> usize {
        #[cfg(target_os = "linux")]
        if self.direct.is_some() {
            return DIRECT_BYTES;
        }
        CACHED_BYTES
    }

    /// Writes the next piece, or as much of it as is written at a time here; says how much.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let (piece, _) = bytes.split_at(bytes.len().min(self.length()));
        #[cfg(target_os = "linux")]
        if let Some(direct) = &mut self.direct {
            match direct.write(self.file, at, piece) {
                // It takes no blocks of this size.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                written => return written.map(|()| piece.len()),
            }
        }
        self.file.write_all_at(piece, at)?;
        self.file.sync_data()?;
        Ok(piece.len())
    }

    /// Makes the file as long as it is to be, which ends with a whole block so far, and syncs it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn finish(self, size: u64) -> io::Result<()> {
        self.file.set_len(size)?;
        self.file.sync_all()
    }
}
