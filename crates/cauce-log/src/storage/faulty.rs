//! A disk that keeps only what it must: for simulations.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Storage, StorageFile};

/// What is written or lost as a whole.
const SECTOR_BYTES: usize = 512;
/// What is written past the cache at once.
const BLOCK_BYTES: u64 = 4096;

/// A disk in memory that behaves as badly as a real one may, by seed.
///
/// Every file has two images: `live` is what the running process sees, `durable` what is sure to survive. A
/// [power cut](FaultyStorage::cut_power) leaves each sector as it was after any of the writes to it since the last
/// sync, the sectors independently of each other; names are as they were after any of the changes since the last
/// [`Storage::sync_directory`]. After a failed sync the writes before it count as lost or kept in the same way, and
/// no later sync makes up for them: that is how Linux behaves.
///
/// Every call counts, and [outages](FaultyStorage::plan) are planned by its number. Handles are shared: the
/// storage's clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultyStorage {
    disk: Arc<Mutex<Disk>>,
}

/// What goes wrong at a planned call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// The call fails with this error number of the system (5 is `EIO`, 28 is `ENOSPC`).
    Error(i32),
    /// The power goes: this call and all later ones fail until [`FaultyStorage::cut_power`].
    Power,
}

#[derive(Debug)]
struct Disk {
    rng: fastrand::Rng,
    files: BTreeMap<u64, Image>,
    last_file: u64,
    live_names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<Renaming>,
    calls: u64,
    plan: BTreeMap<u64, Outage>,
    off: bool,
    /// Syncs are confirmed and not done.
    lies: bool,
    capacity_bytes: u64,
    sync_delay: Duration,
    read_delay: Duration,
}

#[derive(Debug, Default)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync: where, and what.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum Renaming {
    Add(String, u64),
    Move(String, String),
    Remove(String),
}

impl FaultyStorage {
    /// An empty disk; equal seeds behave in the same way.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            rng: fastrand::Rng::with_seed(seed),
            files: BTreeMap::new(),
            last_file: 0,
            live_names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            calls: 0,
            plan: BTreeMap::new(),
            off: false,
            lies: false,
            capacity_bytes: u64::MAX,
            sync_delay: Duration::ZERO,
            read_delay: Duration::ZERO,
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// How many calls there were so far, reads and questions left out.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Plans an outage for the call with this number, counted from 1.
    pub fn plan(&self, call: u64, outage: Outage) {
        self.lock().plan.insert(call, outage);
    }

    /// Bounds what all files may take up together; a file that does not fit cannot be created.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Makes every sync take at least this long.
    pub fn delay_syncs(&self, delay: Duration) {
        self.lock().sync_delay = delay;
    }

    /// Makes every read take at least this long.
    pub fn delay_reads(&self, delay: Duration) {
        self.lock().read_delay = delay;
    }

    /// Forgets the outages that are planned.
    pub fn plan_nothing(&self) {
        self.lock().plan.clear();
    }

    /// Confirms syncs from now on without doing them, as a dishonest disk does.
    pub fn lie_about_syncs(&self) {
        self.lock().lies = true;
    }

    /// Lets every call fail from now on, as for a process that was killed.
    pub fn switch_off(&self) {
        self.lock().off = true;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Lets calls work again; nothing was lost, as when only the process has ended.
    pub fn switch_on(&self) {
        let mut disk = self.lock();
        disk.off = false;
        disk.plan.clear();
    }

    /// Cuts the power, and brings back what the disk kept. Files that are open are not to be used any more.
    pub fn cut_power(&self) {
        let mut disk = self.lock();
        let Disk { rng, files, live_names, durable_names, unsynced_names, .. } = &mut *disk;
        for image in files.values_mut() {
            image.settle(rng);
            image.live = image.durable.clone();
        }
        let kept = rng.usize(..=unsynced_names.len());
        for renaming in unsynced_names.drain(..).take(kept) {
            renaming.apply(durable_names);
        }
        *live_names = durable_names.clone();
        disk.off = false;
        disk.plan.clear();
    }

    /// Flips one bit of a file, in both images.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u8) {
        let mut disk = self.lock();
        let id = *disk.live_names.get(name).expect("the file is there");
        let image = disk.files.get_mut(&id).expect("named files are there");
        for bytes in [&mut image.live, &mut image.durable] {
            *bytes.get_mut(byte).expect("the byte is there") ^= 1 << (bit % 8);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Counts a call and lets what is planned for it happen.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.plan.remove(&self.calls) {
            Some(Outage::Error(number)) => return Err(io::Error::from_raw_os_error(number)),
            Some(Outage::Power) => self.off = true,
            None => {}
        }
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn rename(&mut self, renaming: Renaming) -> io::Result<()> {
        renaming.apply(&mut self.live_names).ok_or(io::ErrorKind::NotFound)?;
        self.unsynced_names.push(renaming);
        Ok(())
    }

    fn image(&mut self, id: u64) -> (&mut Image, &mut fastrand::Rng) {
        (self.files.get_mut(&id).expect("files stay until the storage ends"), &mut self.rng)
    }
}

impl Image {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        super::part_mut(&mut self.live, at, bytes.len())?.copy_from_slice(bytes);
        self.unsynced.push((usize::try_from(at).unwrap_or(usize::MAX), bytes.to_vec()));
        Ok(())
    }

    /// Makes the sectors durable that were written since the last sync. Not the others: what an earlier sync failed to
    /// bring to the disk stays as it is there.
    fn sync(&mut self) {
        for (at, bytes) in self.unsynced.drain(..) {
            let from = at / SECTOR_BYTES * SECTOR_BYTES;
            let to = (at + bytes.len()).next_multiple_of(SECTOR_BYTES).min(self.live.len());
            if let (Some(into), Some(new)) = (self.durable.get_mut(from..to), self.live.get(from..to)) {
                into.copy_from_slice(new);
            }
        }
    }

    /// Makes each sector durable as it was after any of the writes to it, chosen at random.
    fn settle(&mut self, rng: &mut fastrand::Rng) {
        let mut sectors: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, (at, bytes)) in self.unsynced.iter().enumerate() {
            for sector in at / SECTOR_BYTES..(at + bytes.len()).div_ceil(SECTOR_BYTES) {
                sectors.entry(sector).or_default().push(number);
            }
        }
        // Disks often keep all or nothing; in between, every sector is on its own.
        let mode = rng.u8(..4);
        for (sector, writes) in sectors {
            let kept = match mode {
                0 => 0,
                1 => writes.len(),
                _ => rng.usize(..=writes.len()),
            };
            for (at, bytes) in writes.iter().take(kept).filter_map(|&number| self.unsynced.get(number)) {
                let from = (sector * SECTOR_BYTES).max(*at);
                let to = ((sector + 1) * SECTOR_BYTES).min(at + bytes.len());
                let (Some(into), Some(new)) = (self.durable.get_mut(from..to), bytes.get(from - at..to - at))
                else {
                    unreachable!("writes lie inside the file");
                };
                into.copy_from_slice(new);
            }
        }
        self.unsynced.clear();
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, u64>) -> Option<()> {
        match self {
            Self::Add(name, id) => drop(names.insert(name.clone(), *id)),
            Self::Move(from, to) => {
                let id = names.remove(from)?;
                names.insert(to.clone(), id);
            }
            Self::Remove(name) => drop(names.remove(name)?),
        }
        Some(())
    }
}

impl Storage for FaultyStorage {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.lock();
        disk.call()?;
        if disk.live_names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let used: usize =
            disk.live_names.values().filter_map(|id| disk.files.get(id)).map(|i| i.live.len()).sum();
        if used as u64 + size > disk.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::StorageFull)?];
        disk.last_file += 1;
        let id = disk.last_file;
        disk.files.insert(id, Image { live: zeros.clone(), durable: zeros, unsynced: Vec::new() });
        disk.rename(Renaming::Add(name.to_owned(), id))?;
        Ok(Arc::new(FaultyFile { disk: Arc::clone(&self.disk), id, size }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let disk = self.lock();
        let &id = disk.live_names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let size = disk.files.get(&id).map_or(0, |image| image.live.len() as u64);
        Ok(Arc::new(FaultyFile { disk: Arc::clone(&self.disk), id, size }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.call()?;
        disk.rename(Renaming::Move(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.call()?;
        disk.rename(Renaming::Remove(name.to_owned()))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().live_names.keys().cloned().collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.call()?;
        if !disk.lies {
            disk.unsynced_names.clear();
            disk.durable_names = disk.live_names.clone();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    id: u64,
    size: u64,
}

impl FaultyFile {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageFile for FaultyFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let delay = self.lock().read_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut disk = self.lock();
        let (image, _) = disk.image(self.id);
        into.copy_from_slice(super::part(&image.live, at, into.len())?);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.lock();
        let outcome = disk.call();
        let (image, rng) = disk.image(self.id);
        // A call that fails may have done a part, whole sectors.
        let len = if outcome.is_ok() {
            bytes.len()
        } else {
            let sectors = rng.usize(..=bytes.len() / SECTOR_BYTES + 1) * SECTOR_BYTES;
            sectors.saturating_sub(usize::try_from(at).unwrap_or(0) % SECTOR_BYTES).min(bytes.len())
        };
        image.write(at, bytes.get(..len).unwrap_or_default())?;
        outcome
    }

    /// In whole blocks, as files are written past the cache: what lies before in the first one is written once more, what
    /// lies behind in the last one is overwritten with zeros.
    fn write_on(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let from = at / BLOCK_BYTES * BLOCK_BYTES;
        let end = (at + bytes.len() as u64).next_multiple_of(BLOCK_BYTES).min(self.size);
        let mut blocks = vec![0; usize::try_from(end - from).unwrap_or(usize::MAX)];
        let (before, rest) = blocks.split_at_mut(usize::try_from(at - from).unwrap_or(usize::MAX));
        {
            let mut disk = self.lock();
            let (image, _) = disk.image(self.id);
            before.copy_from_slice(super::part(&image.live, from, before.len())?);
        }
        let (own, _) = rest.split_at_mut(bytes.len());
        own.copy_from_slice(bytes);
        self.write_at(from, &blocks)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.lock();
        let delay = disk.sync_delay;
        if !delay.is_zero() {
            drop(disk);
            std::thread::sleep(delay);
            disk = self.lock();
        }
        let outcome = disk.call();
        let (lies, off) = (disk.lies, disk.off);
        let (image, rng) = disk.image(self.id);
        match outcome {
            Ok(()) if lies => {}
            Ok(()) => image.sync(),
            Err(_) if off => {}
            Err(_) => image.settle(rng),
        }
        outcome
    }
}
