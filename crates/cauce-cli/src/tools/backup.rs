//! `cauce backup` and `cauce restore`: a directory copied while a server works in it.
//!
//! No server has to know of it. What a checkpoint names does not change as long as it is in force, and files stay readable for
//! whoever has them open; the log only grows. So the log is copied as far as it is whole, the other files are opened, and if no
//! new checkpoint came into force meanwhile, the two fit together; else they are taken again.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use cauce_log::{
    LogEnd, OpenError, ReadOnlyStorage, checkpoint_files, checkpoint_position, inspect, look_at_checkpoint,
    while_unchanged,
};
use sha2::{Digest, Sha256};

use crate::client::Server;

/// Names of files and their checksums, as `sha256sum` writes and checks them. Written last.
const SUMS: &str = "SHA256SUMS";
/// Larger ones are no list of a backup's files.
const SUMS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Copies everything that a broker keeps, while it works, to a directory or as a tar stream.
///
/// All that was acknowledged before this began is in it. The copy is a directory like any other: `cauce serve --dir` opens it,
/// `sha256sum -c SHA256SUMS` checks it, `cauce restore` does both.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The server; its directory must be on this machine
    #[arg(long, value_name = "URL", required_unless_present = "dir", conflicts_with = "dir")]
    url: Option<String>,
    /// The directory, whether a server works in it or not
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// An empty or missing directory, or - to write a tar stream to the standard output
    target: PathBuf,
}

/// Makes a directory out of a backup, and checks every byte of it.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// A directory, a tar file, or - to read a tar stream from the standard input
    source: PathBuf,
    /// An empty or missing directory
    dir: PathBuf,
}

/// What was taken of a directory.
struct Taken {
    /// Segments, copied to a place where nobody writes to them.
    segments: Vec<(String, PathBuf)>,
    /// The checkpoint's files; whoever has them open reads them even if they are removed.
    pinned: Vec<(String, File)>,
    last_record: u64,
}

impl BackupArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        crate::serve::raise_descriptor_limit();
        let directory = match (&self.dir, &self.url) {
            (Some(dir), _) => dir.clone(),
            (None, Some(url)) => directory_of(url)?,
            (None, None) => bail!("give --url or --dir"),
        };
        let mut sums = String::new();
        let taken = if self.target == Path::new("-") {
            let place = tempfile::tempdir().context("no place for a copy of the log")?;
            let taken = take(&directory, place.path())?;
            let mut archive = tar::Builder::new(io::stdout().lock());
            for (name, mut file) in taken.files()? {
                append(&mut archive, &name, &mut file, &mut sums)?;
            }
            let mut header = header(sums.len() as u64);
            archive
                .append_data(&mut header, SUMS, sums.as_bytes())
                .context("the output cannot be written")?;
            archive.into_inner().and_then(|mut out| out.flush()).context("the output cannot be written")?;
            taken
        } else {
            make_empty(&self.target)?;
            let taken = take(&directory, &self.target)?;
            for (name, mut file) in taken.files()? {
                if taken.segments.iter().any(|(segment, _)| *segment == name) {
                    note_sum(&mut sums, &name, &digest(&mut file)?);
                } else {
                    note_sum(&mut sums, &name, &copy(&mut file, &self.target.join(&name))?);
                }
            }
            copy(&mut sums.as_bytes(), &self.target.join(SUMS))?;
            sync(&self.target)?;
            check(&self.target)?;
            taken
        };
        let files = taken.segments.len() + taken.pinned.len();
        eprintln!("cauce: {files} files, records up to {}", taken.last_record);
        Ok(ExitCode::SUCCESS)
    }
}

impl Taken {
    fn files(&self) -> anyhow::Result<Vec<(String, File)>> {
        let segments = self.segments.iter().map(|(name, path)| Ok((name.clone(), File::open(path)?)));
        let pinned = self.pinned.iter().map(|(name, file)| Ok((name.clone(), file.try_clone()?)));
        segments.chain(pinned).collect::<io::Result<_>>().context("the copy cannot be read")
    }
}

/// Takes the state of a directory: segments are copied to `place`.
fn take(directory: &Path, place: &Path) -> anyhow::Result<Taken> {
    let storage = ReadOnlyStorage::open(directory);
    let storage = storage.with_context(|| format!("cannot look at {}", directory.display()))?;
    let taken = while_unchanged::<_, Infallible>(&storage, || {
        // Older segments may go at any time.
        let needed = checkpoint_position(&storage)?.map_or(1, |position| position + 1);
        let log = inspect(&storage, needed, |_| Ok(()))?;
        if let LogEnd::Damaged(damage, _) = log.end {
            return Err(OpenError::Damaged(damage));
        }
        let mut taken = Taken { segments: Vec::new(), pinned: Vec::new(), last_record: log.last };
        for segment in &log.segments {
            let path = place.join(&segment.file);
            copy_part(&directory.join(&segment.file), &path, segment.end, segment.bytes)
                .map_err(|source| OpenError::Io { action: "copy", file: segment.file.clone(), source })?;
            taken.segments.push((segment.file.clone(), path));
        }
        taken.pinned = pin(directory, &storage).map_err(|source| OpenError::Io {
            action: "open",
            file: "the directory".to_owned(),
            source,
        })?;
        Ok(taken)
    })?;
    // A first attempt may have left segments that were given up since.
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if !taken.segments.iter().any(|(_, path)| *path == entry.path()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(taken)
}

/// Opens the files that the checkpoint in force names, its list among them.
fn pin(directory: &Path, storage: &ReadOnlyStorage) -> io::Result<Vec<(String, File)>> {
    let names = checkpoint_files(storage)?.into_iter();
    names.map(|name| Ok((name.clone(), File::open(directory.join(&name))?))).collect()
}

/// The first bytes of a file, and zeros up to its size: all of them really written, so that the disk has room for them.
fn copy_part(from: &Path, to: &Path, len: u64, size: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let copied = io::copy(&mut File::open(from)?.take(len), &mut file)?;
    if copied < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    io::copy(&mut io::repeat(0).take(size.saturating_sub(len)), &mut file)?;
    file.sync_all()
}

impl RestoreArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { source, dir } = self;
        make_empty(&dir)?;
        let parent =
            dir.canonicalize()?.parent().map(Path::to_owned).context("the root cannot be restored to")?;
        // Beside it, so that it becomes that directory in one step, when it is whole.
        let place = tempfile::Builder::new().prefix(".cauce-restore-").tempdir_in(&parent)?;
        let (found, sums) = if source == Path::new("-") {
            unpack(io::stdin().lock(), place.path())?
        } else if source.is_dir() {
            copy_listed(&source, place.path())?
        } else {
            let file = File::open(&source).with_context(|| format!("cannot open {}", source.display()))?;
            unpack(BufReader::new(file), place.path())?
        };
        compare(&found, &sums)?;
        sync(place.path())?;
        let last = check(place.path())?;
        fs::remove_dir(&dir)?;
        fs::rename(place.path(), &dir).with_context(|| format!("cannot make {}", dir.display()))?;
        sync(&parent)?;
        eprintln!("cauce: {} files, records up to {last}, in {}", found.len(), dir.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Names and checksums.
type Sums = Vec<(String, String)>;

fn unpack(archive: impl Read, place: &Path) -> anyhow::Result<(Sums, Sums)> {
    let (mut found, mut sums) = (Sums::new(), None);
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().context("this is no tar stream")? {
        let mut entry = entry.context("the tar stream ends early or is damaged")?;
        let name = entry.path().ok().and_then(|path| path.to_str().map(str::to_owned));
        let name = name
            .filter(|name| is_plain(name))
            .context("this is no backup: it holds more than plain files")?;
        if name == SUMS {
            sums = Some(read_sums(&mut entry)?);
        } else {
            let sum = copy(&mut entry, &place.join(&name))?;
            found.push((name, sum));
        }
    }
    Ok((found, sums.with_context(|| format!("the backup is not whole: {SUMS}, its end, is missing"))?))
}

fn copy_listed(source: &Path, place: &Path) -> anyhow::Result<(Sums, Sums)> {
    let list = File::open(source.join(SUMS));
    let sums =
        read_sums(&mut list.with_context(|| format!("{} is no backup: no {SUMS}", source.display()))?)?;
    let mut found = Sums::new();
    for (name, _) in &sums {
        let file = File::open(source.join(name));
        let mut file = file.with_context(|| format!("the backup is not whole: {name}"))?;
        found.push((name.clone(), copy(&mut file, &place.join(name))?));
    }
    Ok((found, sums))
}

fn read_sums(list: &mut impl Read) -> anyhow::Result<Sums> {
    let mut text = String::new();
    list.take(SUMS_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("{SUMS} cannot be read"))?;
    let line = |line: &str| {
        let (sum, name) = line.split_once("  ")?;
        is_plain(name).then(|| (name.to_owned(), sum.to_owned()))
    };
    text.lines().map(|text| line(text).with_context(|| format!("{SUMS} is damaged: {text}"))).collect()
}

fn compare(found: &Sums, sums: &Sums) -> anyhow::Result<()> {
    for (name, sum) in sums {
        match found.iter().find(|(other, _)| other == name) {
            None => bail!("the backup is not whole: {name} is missing"),
            Some((_, other)) if other != sum => {
                bail!("the backup is damaged: {name} has another checksum than {SUMS} says")
            }
            Some(_) => {}
        }
    }
    if found.len() != sums.len() {
        bail!("the backup is damaged: it holds {} files and {SUMS} names {}", found.len(), sums.len());
    }
    Ok(())
}

/// A name without a way out of the directory.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

/// The log and the checkpoint of a copy, read whole; says which record is the last.
fn check(directory: &Path) -> anyhow::Result<u64> {
    let storage = ReadOnlyStorage::open(directory)?;
    let position = look_at_checkpoint::<Infallible>(&storage, |_| Ok(())).context("the copy's checkpoint")?;
    let needed = position.map_or(1, |position| position + 1);
    let log = inspect::<Infallible>(&storage, needed, |_| Ok(())).context("the copy's log")?;
    let first = log.segments.first().map_or(1, |segment| segment.first);
    if log.end != LogEnd::Whole || first > needed || log.last + 1 < needed {
        bail!(
            "the copy is not whole: its checkpoint is of {position:?}, its log holds {first} to {}: {:?}",
            log.last,
            log.end
        );
    }
    Ok(log.last)
}

/// Makes a directory unless it is there, and refuses one that is not empty.
fn make_empty(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    if fs::read_dir(directory)?.next().is_some() {
        bail!("{} is not empty; name a directory that is empty or not there yet", directory.display());
    }
    Ok(())
}

/// The directory of a server on this machine.
fn directory_of(url: &str) -> anyhow::Result<PathBuf> {
    let mut control = Server::from_url(url)?.control()?;
    let config = control.call_all(&[b"CONFIG", b"GET", b"dir"])?;
    let path = config.get(1).map(|path| PathBuf::from(String::from_utf8_lossy(path).into_owned()));
    let info = control.call(&[b"INFO", b"server"])?;
    let info = String::from_utf8_lossy(&info).into_owned();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).map(str::trim);
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let path = path.with_context(|| format!("{url} keeps nothing on disk"))?;
    let holder = fs::read_to_string(path.join("LOCK")).ok();
    if holder.as_deref().map(str::trim) != pid {
        bail!(
            "{0} is not a directory of this machine that the server at {url} holds; run `cauce backup --dir {0} -` where it \
             runs, and send the stream here",
            path.display()
        );
    }
    Ok(path)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    file: &mut File,
    sums: &mut String,
) -> anyhow::Result<()> {
    let len = file.metadata()?.len();
    let mut hashed = Hashed { inner: file.take(len), hasher: Sha256::new() };
    archive.append_data(&mut header(len), name, &mut hashed).context("the output cannot be written")?;
    note_sum(sums, name, &hex(hashed.hasher));
    Ok(())
}

fn header(len: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(len);
    header.set_mode(0o600);
    header.set_cksum();
    header
}

fn note_sum(sums: &mut String, name: &str, sum: &str) {
    sums.push_str(&format!("{sum}  {name}\n"));
}

/// Copies to a new file, syncs it, and says the checksum of what was copied.
fn copy(from: &mut impl Read, to: &Path) -> anyhow::Result<String> {
    let context = || format!("cannot copy to {}", to.display());
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut file = file.with_context(context)?;
    let mut hashed = Hashed { inner: from, hasher: Sha256::new() };
    io::copy(&mut hashed, &mut file).and_then(|_| file.sync_all()).with_context(context)?;
    Ok(hex(hashed.hasher))
}

fn digest(file: &mut File) -> anyhow::Result<String> {
    let mut hashed = Hashed { inner: file, hasher: Sha256::new() };
    io::copy(&mut hashed, &mut io::sink()).context("the copy cannot be read")?;
    Ok(hex(hashed.hasher))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sync(directory: &Path) -> anyhow::Result<()> {
    File::open(directory)?.sync_all().with_context(|| format!("cannot sync {}", directory.display()))
}

/// What is read through it is hashed.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hasher.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}
