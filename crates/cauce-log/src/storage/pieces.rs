//! Writing whole files beside a log for which others wait: in pieces, so that the disk is never busy with one for long. Past the system's
//! cache where that is possible: a piece is on the disk then once it is written, and there is little left to be synced. Elsewhere each is
//! synced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

#[cfg(target_os = "linux")]
use super::direct::Direct;

/// A piece past the cache, which costs no sync.
#[cfg(target_os = "linux")]
const DIRECT_BYTES: usize = 64 * 1024;
/// A piece through it. None is longer.
pub(super) const PIECE_MAX: usize = 1024 * 1024;

/// Writes a new file of `size` bytes and syncs it. `piece` gives so many bytes at an offset; between two pieces `rest` is asked, with how many
/// bytes are there by now, which may wait and gives the file up by saying `false`.
///
/// # Errors
/// What the system says; [`io::ErrorKind::Interrupted`] if it was given up.
pub(super) fn write_whole<'b>(
    file: &File,
    size: u64,
    piece: impl Fn(u64, usize) -> &'b [u8],
    rest: &mut dyn FnMut(u64) -> bool,
) -> io::Result<()> {
    let mut pieces = Pieces::of(file);
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(usize::MAX).min(pieces.length());
        at += pieces.write(at, piece(at, length))? as u64;
        if at < size && !rest(at) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    // It ends with a whole block so far.
    file.set_len(size)?;
    file.sync_all()
}

/// A new file that is being written.
struct Pieces<'f> {
    file: &'f File,
    #[cfg(target_os = "linux")]
    direct: Option<Direct>,
}

impl<'f> Pieces<'f> {
    fn of(file: &'f File) -> Self {
        Self {
            file,
            #[cfg(target_os = "linux")]
            direct: Direct::of(file).ok(),
        }
    }

    /// The most bytes of a piece; all but the last have as many.
    fn length(&self) -> usize {
        #[cfg(target_os = "linux")]
        if self.direct.is_some() {
            return DIRECT_BYTES;
        }
        PIECE_MAX
    }

    /// Writes the next piece, or as much of it as is written at a time by now; says how much.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<usize> {
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
}
