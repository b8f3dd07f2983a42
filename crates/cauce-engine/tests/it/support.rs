//! An engine with a clock that only the test moves, and sessions by number.

use cauce_engine::{
    DeliveryKind, Engine, Outcome, Outputs, Position, ReplayError, SessionId, SessionInfo, Settings,
    Snapshot, Timestamp,
};

/// When every test begins.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Timestamp,
    pub(crate) out: Outputs,
    /// All records so far.
    pub(crate) records: Vec<Vec<u8>>,
    settings: Settings,
    commands: usize,
    /// Taken now and then, and kept while the state changes.
    pub(crate) snapshots: Vec<Snapshot>,
    /// The records of a checkpoint and of those behind it that hold what changed, and their position.
    chain: Vec<Vec<u8>>,
    chain_position: Position,
    /// How many checkpoints held changes only.
    pub(crate) deltas: usize,
}

/// A checkpoint is written before every so manieth command.
const CHECKPOINT_EVERY: usize = 23;
/// A snapshot is taken before every so manieth command.
const SNAPSHOT_EVERY: usize = 17;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Sessions 1 to 4 are open.
    pub(crate) fn with(settings: Settings) -> Self {
        let now = Timestamp::from_millis(START_MS);
        let mut engine = Engine::new(settings.clone());
        for id in 1..=4 {
            let address = format!("127.0.0.1:{}", 1000 + id);
            engine.open_session(now, SessionId::new(id), SessionInfo { address, ..SessionInfo::default() });
        }
        Self {
            engine,
            now,
            out: Outputs::default(),
            records: Vec::new(),
            settings,
            commands: 0,
            snapshots: Vec::new(),
            chain: Vec::new(),
            chain_position: Position::default(),
            deltas: 0,
        }
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.now = Timestamp::from_micros(self.now.micros() + ms * 1000);
    }

    /// Runs a command of words separated by spaces; line breaks in the answer become spaces. What others get
    /// stays in `out`.
    pub(crate) fn run(&mut self, session: u64, command: &str) -> String {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.run_args(session, &args).1
    }

    pub(crate) fn run_args(&mut self, session: u64, args: &[&[u8]]) -> (Outcome, String) {
        self.out.clear();
        if self.commands.is_multiple_of(SNAPSHOT_EVERY) {
            self.snapshots.push(self.engine.snapshot());
        }
        if self.commands.is_multiple_of(CHECKPOINT_EVERY) {
            self.checkpoint();
        }
        self.commands += 1;
        let outcome = self.engine.apply(self.now, SessionId::new(session), args, &mut self.out);
        self.records.extend(self.out.records.iter().map(<[u8]>::to_vec));
        (outcome, text(&self.out.replies))
    }

    /// Runs a command again that needed blocks, or answers it with an error.
    pub(crate) fn resume(&mut self, session: u64, unreadable: Option<&str>) -> (Outcome, String) {
        self.out.clear();
        let outcome = self.engine.resume(self.now, SessionId::new(session), unreadable, &mut self.out);
        self.records.extend(self.out.records.iter().map(<[u8]>::to_vec));
        (outcome, text(&self.out.replies))
    }

    /// Adds what changed to the checkpoint, or begins a new one.
    fn checkpoint(&mut self) {
        let snapshot = self.engine.snapshot_for_checkpoint();
        let changes = snapshot.changes_since() == Some(self.chain_position);
        if !changes {
            self.chain.clear();
        }
        let records = &mut self.chain;
        let add = |record: &[u8]| {
            records.push(record.to_vec());
            Ok::<(), ReplayError>(())
        };
        let written = if changes { snapshot.write_changes(add) } else { snapshot.write(add) };
        self.deltas += usize::from(changes);
        assert_eq!(written, Ok(()));
        self.chain_position = snapshot.position();
    }

    pub(crate) fn tick(&mut self) {
        self.out.clear();
        self.engine.tick(self.now, &mut self.out);
        self.records.extend(self.out.records.iter().map(<[u8]>::to_vec));
    }

    /// Fails unless the state comes back from all records, and from each snapshot with the records behind it.
    #[track_caller]
    pub(crate) fn assert_recovers(&self) {
        let (dump, position) = (self.engine.dump(), self.engine.position());
        let check = |mut recovered: Engine| {
            for record in &self.records[recovered.position().0 as usize..] {
                assert_eq!(recovered.replay(record), Ok(()));
            }
            assert!(recovered.dump() == dump, "the state came back as another one");
            assert_eq!(recovered.position(), position);
        };
        check(Engine::new(self.settings.clone()));
        let mut recovered = Engine::new(self.settings.clone());
        for record in &self.chain {
            assert_eq!(recovered.restore(record), Ok(()));
        }
        recovered.restored(self.chain_position);
        check(recovered);
        for snapshot in &self.snapshots {
            let mut recovered = Engine::new(self.settings.clone());
            snapshot.write(|record| recovered.restore(record)).expect("a snapshot can be taken in");
            recovered.restored(snapshot.position());
            check(recovered);
        }
    }

    /// What the last call delivered to others: `session:bytes`, an unblocking reply with `!` in between.
    pub(crate) fn delivered(&self) -> Vec<String> {
        let deliveries = self.out.deliveries.iter();
        deliveries
            .map(|delivery| {
                let mark = match delivery.kind {
                    DeliveryKind::Push => ":",
                    DeliveryKind::Unblocked => "!",
                    _ => "x",
                };
                format!("{}{mark}{}", delivery.to, text(&self.out.shared[delivery.bytes.clone()]))
            })
            .collect()
    }

    /// Runs `session> command` lines and compares each answer: the one place that asserts on transcripts.
    #[track_caller]
    pub(crate) fn check(&mut self, script: &[(&str, &str)]) {
        for (line, expected) in script {
            let numbered = line.split_once("> ").and_then(|(id, command)| Some((id.parse().ok()?, command)));
            let (session, command) = numbered.unwrap_or((1, line));
            assert_eq!(self.run(session, command), *expected, "{line}");
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.strip_suffix("\r\n").unwrap_or(&text).replace("\r\n", " ")
}
