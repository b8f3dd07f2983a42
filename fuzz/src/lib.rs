//! What the targets share: an engine with small limits, a client that is always there, and what a reply must look like.

use std::time::Duration;

use cauce_engine::{
    Engine, Outcome, Outputs, RunningScript, ScriptFate, ScriptWatch, SessionId, SessionInfo, Settings,
    Timestamp,
};

/// Looks at a script before it is taken for one that does not end.
const LOOKS_MAX: u32 = 20;

/// An engine, the records it wrote, and an engine that does nothing but replay them.
#[derive(Debug)]
pub struct Pair {
    engine: Engine,
    again: Engine,
    now: Timestamp,
    out: Outputs,
}

impl Default for Pair {
    fn default() -> Self {
        let mut settings = Settings::default();
        settings.proto_max_bulk_len = 1024 * 1024;
        settings.script_memory_max = 16 * 1024 * 1024;
        let mut engine = Engine::new(settings.clone());
        engine.set_script_watch(Box::new(Impatient(0)));
        Self {
            engine,
            again: Engine::new(settings),
            now: Timestamp::from_millis(1_360_281_600_000),
            out: Outputs::default(),
        }
    }
}

impl Pair {
    /// Takes in a client.
    pub fn open(&mut self, session: u64) {
        self.engine.open_session(self.now, SessionId::new(session), SessionInfo::default());
    }

    /// Runs a command and replays what it recorded; says whether it was answered.
    ///
    /// # Panics
    /// If the answer is not made of whole replies, or a record can't be read.
    pub fn run(&mut self, session: u64, args: &[&[u8]]) -> bool {
        self.out.clear();
        let id = SessionId::new(session);
        let outcome = self.engine.apply(self.now, id, args, &mut self.out);
        let replies = &self.out.replies;
        assert!(are_replies(replies), "{:?}", String::from_utf8_lossy(replies));
        let answered = !replies.is_empty();
        self.now = self.now.saturating_add(Duration::from_millis(1));
        self.engine.tick(self.now, &mut self.out);
        for record in self.out.records.iter() {
            self.again.replay(record).expect("the engine reads what it writes");
        }
        if outcome != Outcome::Replied {
            self.engine.close_session(id);
            self.open(session);
        }
        answered
    }

    /// Compares the two engines.
    ///
    /// # Panics
    /// If they differ.
    pub fn check(&self) {
        assert!(self.engine.dump() == self.again.dump(), "the replayed state differs");
    }
}

/// Whether bytes are replies, each of them whole.
fn are_replies(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        match end_of_reply(bytes, at) {
            Some(end) => at = end,
            None => return false,
        }
    }
    true
}

/// Where the reply that begins at `at` ends; `None` if none does. Without recursion: scripts nest deeply.
fn end_of_reply(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut missing: u64 = 1;
    while missing > 0 {
        missing -= 1;
        let line = bytes.get(at..)?.windows(2).position(|end| end == b"\r\n")? + at;
        let (kind, head) = bytes.get(at..line)?.split_first()?;
        let number = || std::str::from_utf8(head).ok()?.parse::<i64>().ok();
        at = line + 2;
        match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            b'$' | b'=' => {
                if let Ok(len) = usize::try_from(number()?) {
                    let end = at + len;
                    if bytes.get(end..end + 2)? != b"\r\n" {
                        return None;
                    }
                    at = end + 2;
                }
            }
            b'*' | b'~' | b'>' => missing += u64::try_from(number()?).unwrap_or(0),
            b'%' => missing += 2 * u64::try_from(number()?).ok()?,
            _ => return None,
        }
    }
    Some(at)
}

/// Ends scripts that go on for long.
#[derive(Debug)]
struct Impatient(u32);

impl ScriptWatch for Impatient {
    fn begin(&mut self, _threshold: Option<Duration>) {
        self.0 = 0;
    }

    fn poll(&mut self, _script: &mut RunningScript<'_>) -> ScriptFate {
        self.0 += 1;
        if self.0 > LOOKS_MAX { ScriptFate::Kill } else { ScriptFate::Continue }
    }

    fn end(&mut self) {}
}
