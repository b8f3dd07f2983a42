//! Files of blocks: pieces that were written once and are read back one at a time. `docs/log-format.md` draws the bytes.
//!
//! Whoever writes a block keeps where it is, how long it is and its checksum; a file only makes sense together with
//! that. Files of blocks are named by the checkpoint in force ([`crate::CheckpointWriter`]); others are let go.

use std::io;
use std::sync::Arc;

use crate::storage::Storage;

const PREFIX: &str = "blocks-";
const MAGIC: &[u8; 8] = b"CAUCEBLK";
const VERSION: u32 = 1;
/// Magic, version, four bytes of zeros, number.
const HEADER_BYTES: usize = 24;

/// Where a block is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockExtent {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub len: u32,
    /// CRC-32C of them.
    pub sum: u32,
}

/// Collects the blocks of one file.
#[derive(Debug)]
pub struct BlockFileWriter {
    number: u64,
    bytes: Vec<u8>,
}

impl BlockFileWriter {
    /// Begins the file with this number, which no file has had before.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&number.to_le_bytes());
        Self { number, bytes }
    }

    /// Adds a block, and says where it will be.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a block of 4 GiB and more.
    pub fn put(&mut self, block: &[u8]) -> io::Result<BlockExtent> {
        let len = u32::try_from(block.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let sum = crc32c::crc32c(block);
        // For whoever reads the file from its beginning.
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(block);
        Ok(BlockExtent { offset, len, sum })
    }

    /// The file's number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes the file has by now.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Writes the file; when this returns, it and its name are on disk.
    ///
    /// # Errors
    /// What the storage says. None of the blocks can be relied on then.
    pub fn finish(self, storage: &dyn Storage) -> io::Result<()> {
        storage.write_new(&block_file_name(self.number), &self.bytes)?;
        storage.sync_directory()
    }
}

/// Reads a block, and checks it.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if the bytes are not those that were written, or what the storage says.
pub fn read_block(storage: &dyn Storage, number: u64, extent: BlockExtent) -> io::Result<Arc<[u8]>> {
    let file = storage.open(&block_file_name(number))?;
    // Nothing is allocated by a length that the file does not have.
    if extent.offset.saturating_add(u64::from(extent.len)) > file.size() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too short"));
    }
    let mut bytes = vec![0; extent.len as usize];
    file.read_at(extent.offset, &mut bytes)?;
    if crc32c::crc32c(&bytes) != extent.sum {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is another than it was"));
    }
    Ok(bytes.into())
}

/// The numbers of all files of blocks, in no particular order.
///
/// # Errors
/// What the storage says.
pub fn block_files(storage: &dyn Storage) -> io::Result<Vec<u64>> {
    Ok(storage.list()?.iter().filter_map(|name| block_file_number(name)).collect())
}

/// Lets the files of blocks go that `keep` does not hold for.
///
/// # Errors
/// What the storage says; some may be gone then.
pub fn remove_block_files(storage: &dyn Storage, keep: impl Fn(u64) -> bool) -> io::Result<()> {
    let numbers = block_files(storage)?;
    numbers
        .into_iter()
        .filter(|&number| !keep(number))
        .try_for_each(|number| storage.remove(&block_file_name(number)))
}

/// The name of a file of blocks.
#[must_use]
pub fn block_file_name(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

fn block_file_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() >= 12)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStorage;

    #[test]
    fn blocks_are_read_back_one_by_one_and_altered_ones_are_refused() {
        let storage = MemoryStorage::default();
        let mut writer = BlockFileWriter::new(7);
        let blocks: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; 10 + n as usize]).collect();
        let extents: Vec<BlockExtent> = blocks.iter().map(|block| writer.put(block).unwrap()).collect();
        writer.finish(&storage).unwrap();
        assert_eq!(block_files(&storage).unwrap(), [7]);
        let read = |extent| read_block(&storage, 7, extent);
        for (block, &extent) in blocks.iter().zip(&extents) {
            assert_eq!(*read(extent).unwrap(), **block);
        }
        let file = storage.open(&block_file_name(7)).unwrap();
        file.write_at(extents[3].offset + 2, b"x").unwrap();
        assert_eq!(read(extents[3]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(read(extents[4]).is_ok(), "others are not concerned");
        let beyond = BlockExtent { len: u32::MAX, ..extents[19] };
        assert_eq!(read(beyond).unwrap_err().kind(), io::ErrorKind::InvalidData);
        remove_block_files(&storage, |number| number != 7).unwrap();
        assert_eq!(read(extents[0]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
