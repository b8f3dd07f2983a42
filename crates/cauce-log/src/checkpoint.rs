//! A state that stands for the records that led to it: `docs/log-format.md` draws the bytes.
//!
//! A checkpoint is a list, the file `checkpoint`, and the parts that it names. Parts are written first, the list last
//! and under another name, and then renamed: whenever that is interrupted, the checkpoint before is still whole.

use std::io;

use crate::recovery::{Damage, OpenError};
use crate::storage::Storage;

const LIST: &str = "checkpoint";
const NEW_LIST: &str = "checkpoint-new";
const PART_PREFIX: &str = "part-";
const MAGIC: &[u8; 8] = b"CAUCECKP";
const VERSION: u32 = 1;
const LIST_HEADER_BYTES: usize = 32;
const LIST_ROW_BYTES: usize = 16;
/// A part ends behind the record that makes it so long.
const PART_BYTES: usize = if cfg!(test) { 64 * 1024 } else { 8 * 1024 * 1024 };
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
    bytes: u64,
}

/// One part, as the list names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    len: u64,
    sum: u32,
}

impl<'s> CheckpointWriter<'s> {
    /// Begins a checkpoint of the state behind record `position`, which must be newer than the one in force.
    ///
    /// # Errors
    /// What the storage says; [`io::ErrorKind::AlreadyExists`] if the one in force is of that position.
    pub fn begin(storage: &'s dyn Storage, position: u64) -> io::Result<Self> {
        let before = match read_list(storage) {
            Ok(list) => list.map(|list| list.position),
            Err(ListError::Io(error)) => return Err(error),
            Err(ListError::Damaged(_) | ListError::Newer(_)) => return Err(io::ErrorKind::InvalidData.into()),
        };
        if before == Some(position) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        remove_strays(storage, before)?;
        Ok(Self { storage, position, part: Vec::new(), rows: Vec::new(), bytes: 0 })
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

    /// Puts the checkpoint in force, and says how many bytes it has. When this returns, the records up to its position
    /// are not needed any more.
    ///
    /// # Errors
    /// What the storage says. Which of the two checkpoints is in force then is known only after a new start; both
    /// are whole, so no record that either needs may be let go.
    pub fn finish(mut self) -> io::Result<u64> {
        if !self.part.is_empty() {
            self.end_part()?;
        }
        self.storage.sync_directory()?;
        let list = encode_list(self.position, &self.rows);
        match self.storage.remove(NEW_LIST) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.storage.write_new(NEW_LIST, &list)?;
        self.storage.rename(NEW_LIST, LIST)?;
        self.storage.sync_directory()?;
        remove_strays(self.storage, Some(self.position))?;
        Ok(self.bytes + list.len() as u64)
    }

    fn end_part(&mut self) -> io::Result<()> {
        self.storage.write_new(&part_name(self.position, self.rows.len()), &self.part)?;
        self.rows.push(Row { len: self.part.len() as u64, sum: crc32c::crc32c(&self.part) });
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
    mut restore: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<u64>, OpenError<E>> {
    let io = |action, file: &str| {
        let file = file.to_owned();
        move |source| OpenError::Io { action, file, source }
    };
    let list = match read_list(storage) {
        Ok(list) => list,
        Err(ListError::Io(source)) => return Err(io("read", LIST)(source)),
        Err(ListError::Newer(version)) => {
            return Err(OpenError::Newer { file: LIST.to_owned(), version });
        }
        Err(ListError::Damaged(proof)) => return Err(damaged(LIST, 0, 0, proof)),
    };
    remove_strays(storage, list.as_ref().map(|list| list.position)).map_err(io("clean", PART_PREFIX))?;
    let Some(List { position, rows }) = list else { return Ok(None) };
    let mut number = 0;
    for (index, row) in rows.iter().enumerate() {
        let name = part_name(position, index);
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

/// What the list says.
struct List {
    position: u64,
    rows: Vec<Row>,
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

fn part_name(position: u64, index: usize) -> String {
    format!("{PART_PREFIX}{position:020}-{index:06}")
}

/// Removes the parts that do not belong to the checkpoint of `position`, and a list that was never put in force.
fn remove_strays(storage: &dyn Storage, position: Option<u64>) -> io::Result<()> {
    let own = position.map(|position| format!("{PART_PREFIX}{position:020}-"));
    for name in storage.list()? {
        let stray = name.starts_with(PART_PREFIX) && !own.as_ref().is_some_and(|own| name.starts_with(own));
        if stray || name == NEW_LIST {
            storage.remove(&name)?;
        }
    }
    Ok(())
}

fn encode_list(position: u64, rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LIST_HEADER_BYTES + LIST_ROW_BYTES * rows.len());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&position.to_le_bytes());
    bytes.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    for row in rows {
        bytes.extend_from_slice(&row.len.to_le_bytes());
        bytes.extend_from_slice(&u64::from(row.sum).to_le_bytes());
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
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    let (Some(position), Some(count)) = (numbers.next(), numbers.next()) else {
        return Err(ListError::Damaged("the list is too short"));
    };
    let mut rows = Vec::new();
    while let (Some(len), Some(sum)) = (numbers.next(), numbers.next()) {
        rows.push(Row { len, sum: sum as u32 });
    }
    if rows.len() as u64 != count || !left.is_empty() {
        return Err(ListError::Damaged("the list has another number of parts than it says"));
    }
    Ok(Some(List { position, rows }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{FaultyStorage, MemoryStorage, Outage};

    fn write(storage: &dyn Storage, position: u64, records: &[Vec<u8>]) -> io::Result<u64> {
        let mut writer = CheckpointWriter::begin(storage, position)?;
        records.iter().try_for_each(|record| writer.record(record))?;
        writer.finish()
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
        for name in [LIST.to_owned(), part_name(7, 0)] {
            let file = storage.open(&name).unwrap();
            for at in 0..file.size() {
                let mut byte = [0];
                file.read_at(at, &mut byte).unwrap();
                file.write_at(at, &[byte[0] ^ 4]).unwrap();
                let message = read(&storage).unwrap_err().to_string();
                assert!(message.contains(&name) && message.contains("damaged"), "{message}");
                file.write_at(at, &byte).unwrap();
            }
        }
        storage.remove(&part_name(7, 0)).unwrap();
        assert!(read(&storage).unwrap_err().to_string().contains("cannot open part-"));
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
            let outage = if rng.bool() { Outage::Power } else { Outage::Error(28) };
            storage.plan(storage.calls() + rng.u64(1..30), outage);
            let finished = write(&storage, 8, &new).is_ok();
            interrupted += usize::from(!finished);
            storage.cut_power();
            let found = read(&storage).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let expected = if finished { vec![Some((8, new))] } else { vec![Some((3, old)), Some((8, new))] };
            assert!(expected.contains(&found), "seed {seed}: finished {finished}");
        }
        assert!((500..1900).contains(&interrupted), "{interrupted} of 2000 were interrupted");
    }
}
