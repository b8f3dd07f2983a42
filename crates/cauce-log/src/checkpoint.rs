//! A state that stands for the records that led to it: `docs/log-format.md` draws the bytes.
//!
//! A checkpoint is a list, the file `checkpoint`, and what it names: parts, and files of blocks. These are written first,
//! the list last and under another name, and then renamed: whenever that is interrupted, the checkpoint before is still
//! whole. A checkpoint may begin with the parts of the one before: then it adds what changed since.

use std::collections::HashSet;
use std::io;

use crate::blocks::{block_file_name, remove_block_files};
use crate::recovery::{Damage, OpenError};
use crate::storage::Storage;

const LIST: &str = "checkpoint";
const NEW_LIST: &str = "checkpoint-new";
const PART_PREFIX: &str = "part-";
const MAGIC: &[u8; 8] = b"CAUCECKP";
const VERSION: u32 = 2;
const LIST_HEADER_BYTES: usize = 40;
const PART_ROW_BYTES: usize = 32;
/// A part ends behind the record that makes it so long.
const PART_BYTES: usize = if cfg!(test) { 64 * 1024 } else { 8 * 1024 * 1024 };
/// How often what was disturbed by a new checkpoint is tried.
const ATTEMPTS_MAX: u32 = 10;
/// Bytes in front of each record of a part: its length.
const LENGTH_BYTES: usize = 4;

/// Writes a checkpoint record by record. Dropped before [`CheckpointWriter::finish`], it leaves the one before in
/// force; what it wrote is removed when the next one is begun or the log is opened.
#[derive(Debug)]
pub struct CheckpointWriter<'s> {
    storage: &'s dyn Storage,
    position: u64,
    part: Vec<u8>,
    rows: Vec<Row>,
    /// The position of the checkpoint in force.
    before: Option<u64>,
    /// How many of the rows are of that one.
    kept: usize,
    bytes: u64,
}

/// What a checkpoint takes over from the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptParts {
    /// Of which position that one is; `None` if there is none.
    pub position: Option<u64>,
    /// Bytes of the parts that were written at once, first.
    pub first_bytes: u64,
    /// Bytes of those that were added later.
    pub later_bytes: u64,
    /// How many parts there are.
    pub parts: usize,
}

/// One part, as the list names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    /// The position of the checkpoint that wrote it, and its number there.
    origin: u64,
    index: u64,
    len: u64,
    sum: u32,
}

impl Row {
    fn name(&self) -> String {
        format!("{PART_PREFIX}{:020}-{:06}", self.origin, self.index)
    }
}

impl<'s> CheckpointWriter<'s> {
    /// Begins a checkpoint of the state behind record `position`, which must be newer than the one in force.
    ///
    /// # Errors
    /// What the storage says; [`io::ErrorKind::AlreadyExists`] if the one in force is of that position.
    pub fn begin(storage: &'s dyn Storage, position: u64) -> io::Result<Self> {
        Self::begin_with(storage, position, false)
    }

    /// Begins a checkpoint that consists of the one in force and the records that are added.
    ///
    /// # Errors
    /// As [`CheckpointWriter::begin`].
    pub fn begin_behind(storage: &'s dyn Storage, position: u64) -> io::Result<Self> {
        Self::begin_with(storage, position, true)
    }

    /// What is kept of the checkpoint in force.
    #[must_use]
    pub fn kept(&self) -> KeptParts {
        let rows = self.rows.get(..self.kept).unwrap_or_default();
        let first = rows.first().map(|row| row.origin);
        let bytes = |of_first| {
            let rows = rows.iter().filter(move |row| (Some(row.origin) == first) == of_first);
            rows.map(|row| row.len).sum()
        };
        KeptParts {
            position: self.before,
            first_bytes: bytes(true),
            later_bytes: bytes(false),
            parts: rows.len(),
        }
    }

    fn begin_with(storage: &'s dyn Storage, position: u64, keep: bool) -> io::Result<Self> {
        let before = match read_list(storage) {
            Ok(list) => list.unwrap_or_default(),
            Err(ListError::Io(error)) => return Err(error),
            Err(ListError::Damaged(_) | ListError::Newer(_)) => return Err(io::ErrorKind::InvalidData.into()),
        };
        if before.position == Some(position) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        remove_strays(storage, &before.rows)?;
        let position_before = before.position;
        let rows = if keep { before.rows } else { Vec::new() };
        let kept = rows.len();
        Ok(Self { storage, position, part: Vec::new(), rows, before: position_before, kept, bytes: 0 })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// What the storage says; the checkpoint cannot be finished then.
    pub fn record(&mut self, record: &[u8]) -> io::Result<()> {
        let len = u32::try_from(record.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.part.extend_from_slice(&len.to_le_bytes());
        self.part.extend_from_slice(record);
        if self.part.len() >= PART_BYTES { self.end_part() } else { Ok(()) }
    }

    /// Puts the checkpoint in force, and says how many bytes were written. When this returns, the records up to its
    /// position are not needed any more. `block_files` are the numbers and sizes of the files of blocks that its records
    /// name.
    ///
    /// # Errors
    /// What the storage says. Which of the two checkpoints is in force then is known only after a new start; both
    /// are whole, so no record that either needs may be let go.
    pub fn finish(mut self, block_files: &[(u64, u64)]) -> io::Result<u64> {
        if !self.part.is_empty() {
            self.end_part()?;
        }
        self.storage.sync_directory()?;
        let list = encode_list(self.position, &self.rows, block_files);
        match self.storage.remove(NEW_LIST) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.storage.write_new(NEW_LIST, &list)?;
        self.storage.rename(NEW_LIST, LIST)?;
        self.storage.sync_directory()?;
        remove_strays(self.storage, &self.rows)?;
        Ok(self.bytes + list.len() as u64)
    }

    fn end_part(&mut self) -> io::Result<()> {
        let (origin, index) = (self.position, (self.rows.len() - self.kept) as u64);
        let (len, sum) = (self.part.len() as u64, crc32c::crc32c(&self.part));
        let row = Row { origin, index, len, sum };
        self.storage.write_new(&row.name(), &self.part)?;
        self.rows.push(row);
        self.bytes += self.part.len() as u64;
        self.part.clear();
        Ok(())
    }
}

/// Hands the records of the checkpoint in force to `restore`, in order, and says which position it is of; `None` if
/// there is none. What an interrupted one left behind is removed.
///
/// # Errors
/// [`OpenError`]
pub fn read_checkpoint<E>(
    storage: &dyn Storage,
    restore: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<u64>, OpenError<E>> {
    let list = list_in_force(storage)?;
    let refused =
        |file: &'static str| move |source| OpenError::Io { action: "clean", file: file.to_owned(), source };
    remove_strays(storage, &list.rows).map_err(refused(PART_PREFIX))?;
    let named = |number| list.files.iter().any(|&(named, _)| named == number);
    remove_block_files(storage, named).map_err(refused("blocks-"))?;
    look_at_checkpoint(storage, restore)
}

/// The position of the checkpoint that counts.
///
/// # Errors
/// [`OpenError`]
pub fn checkpoint_position<E>(storage: &dyn Storage) -> Result<Option<u64>, OpenError<E>> {
    Ok(list_in_force(storage)?.position)
}

/// Does something with a directory that another process may write to, again if a checkpoint came into force meanwhile: until
/// then every file that the one before needs is there, and is not written to but at the end of the log.
///
/// # Errors
/// What the last attempt returned.
pub fn while_unchanged<T, E>(
    storage: &dyn Storage,
    mut attempt: impl FnMut() -> Result<T, OpenError<E>>,
) -> Result<T, OpenError<E>> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let before = checkpoint_position::<E>(storage);
        let outcome = attempt();
        let unchanged = match (&before, checkpoint_position::<E>(storage)) {
            (Ok(before), Ok(after)) => *before == after,
            // Damaged, and stays so.
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if unchanged || attempts == ATTEMPTS_MAX {
            return if unchanged { outcome } else { outcome.and(Err(OpenError::Restless)) };
        }
    }
}

fn list_in_force<E>(storage: &dyn Storage) -> Result<List, OpenError<E>> {
    let list = read_list(storage).map_err(|error| match error {
        ListError::Io(source) => OpenError::Io { action: "read", file: LIST.to_owned(), source },
        ListError::Newer(version) => OpenError::Newer { file: LIST.to_owned(), version },
        ListError::Damaged(proof) => damaged(LIST, 0, 0, proof),
    })?;
    Ok(list.unwrap_or_default())
}

/// The same as [`read_checkpoint`], and changes nothing.
///
/// # Errors
/// [`OpenError`]
pub fn look_at_checkpoint<E>(
    storage: &dyn Storage,
    mut restore: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<u64>, OpenError<E>> {
    let io = |action, file: &str| {
        let file = file.to_owned();
        move |source| OpenError::Io { action, file, source }
    };
    let list = list_in_force(storage)?;
    let Some(position) = list.position else { return Ok(None) };
    for &(number, size) in &list.files {
        let name = block_file_name(number);
        let file = storage.open(&name).map_err(io("open", &name))?;
        if file.size() != size {
            return Err(damaged(&name, 0, 0, "the file of blocks is not as long as the list says"));
        }
    }
    let mut number = 0;
    for row in &list.rows {
        let name = row.name();
        let file = storage.open(&name).map_err(io("open", &name))?;
        if file.size() != row.len {
            return Err(damaged(&name, 0, number, "the part is not as long as the list says"));
        }
        let mut bytes = vec![0; usize::try_from(row.len).unwrap_or(usize::MAX)];
        file.read_at(0, &mut bytes).map_err(io("read", &name))?;
        if crc32c::crc32c(&bytes) != row.sum {
            return Err(damaged(&name, 0, number, "its checksum is another than the list says"));
        }
        let mut rest = bytes.as_slice();
        while let Some((len, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let len = u32::from_le_bytes(*len) as usize;
            let offset = (bytes.len() - rest.len()) as u64;
            let Some((record, behind)) = behind.split_at_checked(len) else {
                return Err(damaged(&name, offset, number, "a record ends behind its part"));
            };
            number += 1;
            restore(record).map_err(|source| OpenError::Replay { file: name.clone(), number, source })?;
            rest = behind;
        }
    }
    Ok(Some(position))
}

/// The names of the files that make the checkpoint in force, the list among them; none if there is no checkpoint. A copy of
/// them and of the log from its position on is a copy of everything.
///
/// # Errors
/// What the storage says; [`io::ErrorKind::InvalidData`] if the list is not whole.
pub fn checkpoint_files(storage: &dyn Storage) -> io::Result<Vec<String>> {
    let list = match read_list(storage) {
        Ok(Some(list)) => list,
        Ok(None) => return Ok(Vec::new()),
        Err(ListError::Io(error)) => return Err(error),
        Err(ListError::Damaged(_) | ListError::Newer(_)) => return Err(io::ErrorKind::InvalidData.into()),
    };
    let parts = list.rows.iter().map(Row::name);
    let blocks = list.files.iter().map(|&(number, _)| block_file_name(number));
    Ok(parts.chain(blocks).chain([LIST.to_owned()]).collect())
}

/// What the list says.
#[derive(Default)]
struct List {
    /// `None` if there is no list.
    position: Option<u64>,
    rows: Vec<Row>,
    /// Files of blocks: number and size.
    files: Vec<(u64, u64)>,
}

enum ListError {
    Io(io::Error),
    Newer(u32),
    Damaged(&'static str),
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn damaged<E>(file: &str, offset: u64, record: u64, proof: &'static str) -> OpenError<E> {
    OpenError::Damaged(Damage { file: file.to_owned(), offset, record, proof })
}

/// Removes the parts that are not in the list, and a list that was never put in force.
fn remove_strays(storage: &dyn Storage, rows: &[Row]) -> io::Result<()> {
    let named: HashSet<String> = rows.iter().map(Row::name).collect();
    for name in storage.list()? {
        if name.starts_with(PART_PREFIX) && !named.contains(&name) || name == NEW_LIST {
            storage.remove(&name)?;
        }
    }
    Ok(())
}

fn encode_list(position: u64, rows: &[Row], files: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LIST_HEADER_BYTES + PART_ROW_BYTES * rows.len() + 16 * files.len());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let mut number = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
    [position, rows.len() as u64, files.len() as u64].into_iter().for_each(&mut number);
    for row in rows {
        [row.origin, row.index, row.len, u64::from(row.sum)].into_iter().for_each(&mut number);
    }
    for &(file, size) in files {
        [file, size].into_iter().for_each(&mut number);
    }
    let sum = crc32c::crc32c(&bytes);
    [MAGIC.as_slice(), &sum.to_le_bytes(), &bytes].concat()
}

fn read_list(storage: &dyn Storage) -> Result<Option<List>, ListError> {
    let file = match storage.open(LIST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; usize::try_from(file.size()).unwrap_or(usize::MAX)];
    file.read_at(0, &mut bytes)?;
    let body = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<4>());
    let whole = body.filter(|(sum, body)| crc32c::crc32c(body) == u32::from_le_bytes(**sum));
    let (_, body) = whole.ok_or(ListError::Damaged("the list of the checkpoint is not whole"))?;
    let (version, rest) = body.split_first_chunk::<4>().ok_or(ListError::Damaged("the list is too short"))?;
    match u32::from_le_bytes(*version) {
        VERSION => {}
        newer => return Err(ListError::Newer(newer)),
    }
    let (numbers, left) = rest.as_chunks::<8>();
    let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
    let Some((&[position, parts, files], rows)) = numbers.split_first_chunk() else {
        return Err(ListError::Damaged("the list is too short"));
    };
    let parts_len = usize::try_from(parts).ok().and_then(|parts| parts.checked_mul(4));
    let (rows, rest) = parts_len
        .and_then(|len| rows.split_at_checked(len))
        .filter(|(_, rest)| rest.len() as u64 == files.saturating_mul(2) && left.is_empty())
        .ok_or(ListError::Damaged("the list has another number of parts than it says"))?;
    let rows = rows.as_chunks().0.iter().map(|&[origin, index, len, sum]| Row {
        origin,
        index,
        len,
        sum: sum as u32,
    });
    let files = rest.as_chunks().0.iter().map(|&[number, size]| (number, size)).collect();
    Ok(Some(List { position: Some(position), rows: rows.collect(), files }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{BlockFileWriter, FaultyStorage, MemoryStorage, Outage, block_files};

    fn write(storage: &dyn Storage, position: u64, records: &[Vec<u8>]) -> io::Result<u64> {
        let mut writer = CheckpointWriter::begin(storage, position)?;
        records.iter().try_for_each(|record| writer.record(record))?;
        writer.finish(&[])
    }

    fn write_behind(storage: &dyn Storage, position: u64, records: &[Vec<u8>]) -> io::Result<u64> {
        let mut writer = CheckpointWriter::begin_behind(storage, position)?;
        records.iter().try_for_each(|record| writer.record(record))?;
        writer.finish(&[])
    }

    /// A checkpoint's position and its records.
    type Found = Option<(u64, Vec<Vec<u8>>)>;

    fn read(storage: &dyn Storage) -> Result<Found, OpenError<Infallible>> {
        let mut records = Vec::new();
        let position = read_checkpoint(storage, |record| {
            records.push(record.to_vec());
            Ok(())
        })?;
        Ok(position.map(|position| (position, records)))
    }

    fn records(seed: u8, count: usize, len: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| vec![seed ^ n as u8; len]).collect()
    }

    #[test]
    fn the_newest_is_read_and_its_forerunner_gone() {
        let storage = MemoryStorage::default();
        assert!(read(&storage).unwrap().is_none());
        for (position, count, len) in [(5, 3, 10), (9, 0, 0), (40, 30, 10_000), (41, 1, 0)] {
            let records = records(position as u8, count, len);
            assert!(write(&storage, position, &records).unwrap() >= (count * len) as u64);
            assert_eq!(read(&storage).unwrap(), Some((position, records)));
        }
        assert_eq!(write(&storage, 41, &[]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut names = storage.list().unwrap();
        names.sort_unstable();
        assert_eq!(names, ["checkpoint", "part-00000000000000000041-000000"]);
    }

    #[test]
    fn any_altered_byte_is_found() {
        let storage = MemoryStorage::default();
        write(&storage, 7, &records(1, 20, 30)).unwrap();
        let part = "part-00000000000000000007-000000";
        for name in [LIST, part] {
            let file = storage.open(name).unwrap();
            for at in 0..file.size() {
                let mut byte = [0];
                file.read_at(at, &mut byte).unwrap();
                file.write_at(at, &[byte[0] ^ 4]).unwrap();
                let message = read(&storage).unwrap_err().to_string();
                assert!(message.contains(name) && message.contains("damaged"), "{message}");
                file.write_at(at, &byte).unwrap();
            }
        }
        storage.remove(part).unwrap();
        assert!(read(&storage).unwrap_err().to_string().contains("cannot open part-"));
    }

    #[test]
    fn a_checkpoint_behind_another_has_the_parts_of_both() {
        let storage = MemoryStorage::default();
        write(&storage, 3, &records(1, 30, 10_000)).unwrap();
        let before = checkpoint_files(&storage).unwrap();
        let mut writer = CheckpointWriter::begin_behind(&storage, 9).unwrap();
        writer.record(b"more").unwrap();
        let bytes = writer.finish(&[]).unwrap();
        assert!(bytes < 1000, "{bytes} bytes for what is new");
        let mut expected = records(1, 30, 10_000);
        expected.push(b"more".to_vec());
        assert_eq!(read(&storage).unwrap(), Some((9, expected)));
        let after = checkpoint_files(&storage).unwrap();
        assert!(before.iter().all(|name| after.contains(name)) && after.len() == before.len() + 1);
        write(&storage, 10, &records(2, 1, 10)).unwrap();
        assert_eq!(checkpoint_files(&storage).unwrap(), ["part-00000000000000000010-000000", LIST]);
    }

    #[test]
    fn files_of_blocks_stay_while_they_are_named() {
        let storage = MemoryStorage::default();
        for number in 1..=3 {
            BlockFileWriter::new(number).finish(&storage).unwrap();
        }
        CheckpointWriter::begin(&storage, 3).unwrap().finish(&[(1, 24), (3, 24)]).unwrap();
        read(&storage).unwrap();
        let mut left = block_files(&storage).unwrap();
        left.sort_unstable();
        assert_eq!(left, [1, 3]);
        CheckpointWriter::begin(&storage, 4).unwrap().finish(&[(1, 25)]).unwrap();
        let message = read(&storage).unwrap_err().to_string();
        assert!(message.contains("blocks-000000000001 is damaged"), "{message}");
        CheckpointWriter::begin(&storage, 5).unwrap().finish(&[(9, 24)]).unwrap();
        assert!(read(&storage).unwrap_err().to_string().contains("cannot open blocks-000000000009"));
    }

    /// Whatever happens while a checkpoint is written, the old one or the new one is whole afterwards; the new one if
    /// finishing it was reported.
    #[test]
    fn the_power_may_go_at_any_moment() {
        let mut interrupted = 0;
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let storage = FaultyStorage::new(seed);
            let old = records(1, rng.usize(..5), 20);
            write(&storage, 3, &old).unwrap();
            let new = records(2, rng.usize(..5), 30_000);
            let behind = rng.bool();
            let outage = if rng.bool() { Outage::Power } else { Outage::Error(28) };
            storage.plan(storage.calls() + rng.u64(1..30), outage);
            let written = if behind { write_behind(&storage, 8, &new) } else { write(&storage, 8, &new) };
            let finished = written.is_ok();
            let new = if behind { [old.clone(), new].concat() } else { new };
            interrupted += usize::from(!finished);
            storage.cut_power();
            let found = read(&storage).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let expected = if finished { vec![Some((8, new))] } else { vec![Some((3, old)), Some((8, new))] };
            assert!(expected.contains(&found), "seed {seed}: finished {finished}");
        }
        assert!((500..1900).contains(&interrupted), "{interrupted} of 2000 were interrupted");
    }
}
