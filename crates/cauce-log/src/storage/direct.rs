//! Writing past the system's cache.
//!
//! A record is read again only after a restart, so a cache of it is of no use, and what the system does to keep one costs a
//! third of a commit's time. The disk then takes whole blocks alone: the last one, which is rarely full, is written again
//! with the next bytes. What was synced in it stays the same bytes in the same place, as it does where the cache is used.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::OFlags;

/// What every disk and file system takes as one, and where it must lie in memory.
const BLOCK_BYTES: usize = 4096;
/// How much is written at a time. Little beside a segment: each that was written on keeps its buffer until it is closed.
const BUFFER_BYTES: usize = 32 * BLOCK_BYTES;

/// A file that is written on, always behind what was written last.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    buffer: Vec<u8>,
    /// Where in the buffer the first block begins.
    start: usize,
    /// Up to where the file was written, if anything was: the block that this lies in begins the buffer.
    end: Option<u64>,
}

impl Direct {
    /// The same file past the cache.
    ///
    /// # Errors
    /// Where the system or the file system cannot do that.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        // By its descriptor: it may have another name by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::DIRECT.bits().cast_signed();
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
        let buffer = vec![0; BUFFER_BYTES + BLOCK_BYTES];
        let start = buffer.as_ptr().align_offset(BLOCK_BYTES);
        if start > BLOCK_BYTES {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { file, buffer, start, end: None })
    }

    /// Whether a file of this size can be written so.
    pub(super) fn fits(size: u64) -> bool {
        size.is_multiple_of(BLOCK_BYTES as u64)
    }

    /// Writes from offset `at` on; the rest of the last block becomes zeros. `cached` is the same file.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::InvalidInput`] if it does not take blocks of this size.
    pub(super) fn write(&mut self, cached: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        const BLOCK: u64 = BLOCK_BYTES as u64;
        let mut filled = usize::try_from(at % BLOCK).expect("a block is small");
        let mut block_at = at - at % BLOCK;
        let known = self.end.take().filter(|&end| end - end % BLOCK == block_at && end <= at);
        let buffer = self.buffer.get_mut(self.start..self.start + BUFFER_BYTES).expect("it was made so");
        match known {
            Some(end) => {
                let end = usize::try_from(end % BLOCK).expect("a block is small");
                buffer.get_mut(end..filled).expect("it lies in the first block").fill(0);
            }
            None => {
                let before = buffer.get_mut(..filled).expect("it lies in the first block");
                cached.read_exact_at(before, block_at)?;
            }
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BUFFER_BYTES - filled));
            rest = later;
            let end = filled + now.len();
            let padded = end.next_multiple_of(BLOCK_BYTES);
            buffer.get_mut(filled..end).expect("there is room").copy_from_slice(now);
            buffer.get_mut(end..padded).expect("the buffer has whole blocks").fill(0);
            self.file.write_all_at(buffer.get(..padded).expect("the buffer has whole blocks"), block_at)?;
            filled = end % BLOCK_BYTES;
            buffer.copy_within(end - filled..end, 0);
            block_at += (end - filled) as u64;
        }
        self.end = Some(at + bytes.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_of_any_size_is_there() {
        // Not in memory: file systems there may not know of blocks.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = directory.path().join("file");
        let size = 8 * BUFFER_BYTES;
        std::fs::write(&path, vec![9; size]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut direct = match Direct::of(&file) {
            Ok(direct) => direct,
            Err(error) => {
                println!("nothing is tested: this file system cannot write past the cache ({error})");
                return;
            }
        };
        let mut random = fastrand::Rng::with_seed(1);
        let (mut at, mut expected) = (BLOCK_BYTES, vec![9; BLOCK_BYTES]);
        for round in 0..200 {
            let len = match round % 4 {
                0 => random.usize(1..100),
                1 => random.usize(1..3 * BLOCK_BYTES),
                2 => BLOCK_BYTES - at % BLOCK_BYTES,
                _ => random.usize(1..BUFFER_BYTES / 20),
            };
            if at + len > size {
                break;
            }
            if round % 10 == 9 {
                // As after a start, when nothing is known of what was written.
                direct = Direct::of(&file).unwrap();
            }
            let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
            direct.write(&file, at as u64, &bytes).unwrap();
            expected.resize(at, 0);
            expected.extend_from_slice(&bytes);
            at = (at + len).next_multiple_of(8).min(size);
        }
        let large: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size - at).collect();
        direct.write(&file, at as u64, &large).unwrap();
        expected.resize(at, 0);
        expected.extend_from_slice(&large);
        let there = std::fs::read(&path).unwrap();
        assert_eq!(there.len(), size);
        assert!(
            there == expected,
            "they differ at {:?}",
            there.iter().zip(&expected).position(|(a, b)| a != b)
        );
    }
}
