//! The commands for queues do what the toolkit's scripts do: of two engines with the same history one is told to run the script, the other
//! the command. Both give the same reply, announce the same, and hold the same afterwards.

use std::collections::BTreeMap;

use cauce_engine::{Engine, Outcome, Outputs, SessionId, SessionInfo, Settings, Timestamp};
use cauce_testkit::wire::{Value, decode};

/// Histories, and steps of each.
const HISTORIES: u64 = 300;
const STEPS: usize = 60;

const MESSAGES: &str = "rsmq:jobs";
const HASH: &str = "rsmq:jobs:Q";
const CHANNEL: &str = "rsmq:rt:jobs";

macro_rules! script {
    ($($piece:literal)*) => {
        concat!($(include_str!(concat!("../../../cauce/src/queue/scripts/", $piece, ".lua"))),*)
    };
}

const SEND: (&str, &str) = ("RSMQ.SEND", script!("prelude" "ids" "fits" "problem" "send"));
const RECEIVE: (&str, &str) = ("RSMQ.RECEIVE", script!("prelude" "problem" "receive"));
const DELETE: (&str, &str) = ("RSMQ.DELETE", script!("prelude" "delete"));

const WORKER: SessionId = SessionId::new(1);
const LISTENER: SessionId = SessionId::new(2);

/// One of the two.
struct World {
    engine: Engine,
    out: Outputs,
    records: Vec<Vec<u8>>,
}

impl World {
    fn new(now: Timestamp) -> Self {
        let mut engine = Engine::new(Settings::default());
        for id in [WORKER, LISTENER] {
            engine.open_session(now, id, SessionInfo::default());
        }
        let mut world = Self { engine, out: Outputs::default(), records: Vec::new() };
        world.run(now, LISTENER, &["SUBSCRIBE", CHANNEL]);
        world
    }

    fn run<A: AsRef<[u8]>>(&mut self, now: Timestamp, by: SessionId, args: &[A]) -> Value {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        self.out.clear();
        assert!(matches!(self.engine.apply(now, by, &args, &mut self.out), Outcome::Replied));
        self.records.extend(self.out.records.iter().map(<[u8]>::to_vec));
        decode(&self.out.replies).expect("it is RESP").expect("it is whole").0
    }

    /// The messages with their scores, and the fields of the hash.
    fn state(&mut self, now: Timestamp) -> (Value, BTreeMap<String, Value>) {
        let messages = self.run(now, WORKER, &["ZRANGE", MESSAGES, "0", "-1", "WITHSCORES"]);
        let fields = self.run(now, WORKER, &["HGETALL", HASH]);
        let fields = fields.elements().expect("a list");
        let pairs = fields.chunks(2).map(|pair| (pair[0].text().expect("a name"), pair[1].clone()));
        (messages, pairs.collect())
    }
}

/// Both, and what the steps need to know.
struct Pair {
    rng: fastrand::Rng,
    now: Timestamp,
    scripted: World,
    commanded: World,
    sent: Vec<String>,
    compared: BTreeMap<&'static str, usize>,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let now = Timestamp::from_millis(1_700_000_000_000);
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now,
            scripted: World::new(now),
            commanded: World::new(now),
            sent: Vec::new(),
            compared: BTreeMap::new(),
        }
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.rng.usize(..choices.len())].clone()
    }

    /// The same command on both.
    fn both(&mut self, args: &[&str]) {
        let replies =
            [&mut self.scripted, &mut self.commanded].map(|world| world.run(self.now, WORKER, args));
        assert_eq!(replies[0], replies[1], "{args:?}");
    }

    fn compare(&mut self, (command, code): (&'static str, &str), arguments: &[String]) -> Value {
        let mut scripted = vec!["EVAL", code, "2", MESSAGES, HASH];
        let mut commanded = vec![command, MESSAGES, HASH];
        for args in [&mut scripted, &mut commanded] {
            args.extend(arguments.iter().map(String::as_str));
        }
        let theirs = self.scripted.run(self.now, WORKER, &scripted);
        let pushes = self.scripted.out.shared.clone();
        let ours = self.commanded.run(self.now, WORKER, &commanded);
        assert_eq!(numbers(&ours), numbers(&theirs), "{commanded:?}");
        assert_eq!(self.commanded.out.shared, pushes, "{commanded:?}");
        assert_eq!(self.commanded.state(self.now), self.scripted.state(self.now), "{commanded:?}");
        *self.compared.entry(command).or_default() += 1;
        ours
    }

    fn step(&mut self) {
        self.now = Timestamp::from_micros(self.now.micros() + self.rng.u64(..20_000_000));
        match self.rng.u8(..20) {
            0 => self.create(),
            1 => self.damage(),
            2..9 => self.send(),
            9..15 => self.receive(),
            _ => self.delete(),
        }
    }

    fn create(&mut self) {
        self.both(&["DEL", MESSAGES, HASH]);
        let vt = self.one_of(&["0", "1", "30", "1500", "30000", "99999999", "half", "1000"]);
        let delay = self.one_of(&["0", "0", "0", "2", "1000", "2500"]);
        let maxsize = self.one_of(&["65536", "1024", "-1", "20"]);
        self.both(&["HSET", HASH, "vt", vt, "delay", delay, "maxsize", maxsize]);
        match self.rng.u8(..8) {
            0 => self.both(&["HSET", HASH, "totalsent", "0", "totalrecv", "0"]),
            1 => self.both(&["HDEL", HASH, "delay"]),
            2..5 => self.both(&["HSET", HASH, "units", "s"]),
            _ => {}
        }
        self.sent.clear();
    }

    /// What other programs may leave behind. Ids without a body are cleared away by the next receive that comes to them.
    fn damage(&mut self) {
        let Some(id) = self.rng.choice(&self.sent).cloned() else { return };
        match self.rng.u8(..3) {
            0 => self.both(&["HSET", HASH, "extras", "1", &format!("{id}:dead"), "{}"]),
            1 => self.both(&["HDEL", HASH, &format!("{id}:fr")]),
            _ => {
                self.both(&["HDEL", HASH, &id]);
                self.both(&["ZADD", MESSAGES, "0.5", &id]);
                self.compare(RECEIVE, &["s".to_owned(), "100".to_owned(), "1000".to_owned()]);
            }
        }
    }

    fn send(&mut self) {
        let count = self.rng.usize(1..6);
        let [is_atomic, is_announced, is_delayed, is_traced] = [2, 2, 4, 6].map(|of| self.rng.u8(..of) == 0);
        let flag = |is: bool| if is { "1" } else { "" }.to_owned();
        let channel = if is_announced { CHANNEL } else { "" };
        let mut bodies: Vec<String> = (0..count)
            .map(|_| {
                let length = self.rng.usize(..30);
                (0..length).map(|_| self.one_of(&['a', 'é', '€', '😀'])).collect()
            })
            .collect();
        bodies.sort_unstable();
        let longest = bodies.iter().map(String::len).max().unwrap_or_default();
        let units = self.one_of(&["checked", "checked", "s", "ms"]);
        let mut arguments = vec![
            units.to_owned(),
            flag(is_atomic),
            channel.to_owned(),
            flag(is_delayed),
            flag(is_traced),
            longest.to_string(),
        ];
        let mut suffixes: Vec<String> =
            (0..count).map(|_| (0..22).map(|_| self.rng.alphanumeric()).collect()).collect();
        suffixes.sort_unstable();
        for (suffix, body) in suffixes.iter().zip(bodies) {
            arguments.extend([suffix.clone(), body]);
        }
        for (is_given, choices) in
            [(is_delayed, ["", "1", "5000"]), (is_traced, ["", "00-a-b-01", "00-c-d-00"])]
        {
            for _ in 0..if is_given { count } else { 0 } {
                let given = self.one_of(&choices);
                arguments.push(given.to_owned());
            }
        }
        let reply = self.compare(SEND, &arguments);
        if let Some(prefix) =
            reply.elements().and_then(|items| items[0].text()).filter(|text| text.len() == 10)
        {
            self.sent.extend(suffixes.into_iter().map(|suffix| format!("{prefix}{suffix}")));
        }
    }

    fn receive(&mut self) {
        let units = self.one_of(&["checked", "s", "ms"]);
        let count = self.rng.u8(1..6);
        let take = self.one_of(&["", "", "1", "60000", "pop"]);
        self.compare(RECEIVE, &[units.to_owned(), count.to_string(), take.to_owned()]);
    }

    fn delete(&mut self) {
        let mut arguments = Vec::new();
        for _ in 0..self.rng.u8(1..5) {
            let unknown = "fmfr6gkg1iZ0123456789abcdefABCDE".to_owned();
            arguments.push(self.rng.choice(&self.sent).cloned().unwrap_or(unknown));
            let fence = self.one_of(&["", "", "1", "2"]);
            arguments.push(fence.to_owned());
        }
        self.compare(DELETE, &arguments);
    }
}

/// With numbers as numbers: whether they are texts is not said.
fn numbers(value: &Value) -> Vec<String> {
    match value.elements() {
        Some(items) => items.iter().flat_map(numbers).collect(),
        None => vec![value.text().unwrap_or_else(|| value.to_string()).trim_start_matches(':').to_owned()],
    }
}

#[test]
fn commands_for_queues_do_what_the_scripts_do() {
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let mut pair = Pair::new(seed);
        pair.create();
        for _ in 0..STEPS {
            pair.step();
        }
        for (command, count) in pair.compared {
            *compared.entry(command).or_default() += count;
        }
        let mut replayed = Engine::new(Settings::default());
        for record in &pair.commanded.records {
            assert_eq!(replayed.replay(record), Ok(()));
        }
        assert!(replayed.dump() == pair.commanded.engine.dump(), "seed {seed} came back as another state");
    }
    assert!(compared.values().all(|count| *count > 3000) && compared.len() == 3, "{compared:?}");
}

#[test]
fn malformed_sends_change_nothing() {
    let mut pair = Pair::new(0);
    pair.both(&["HSET", HASH, "vt", "30", "delay", "0", "maxsize", "-1"]);
    let before = pair.commanded.state(pair.now);
    let suffix = "0123456789abcdefABCDEF";
    for (arguments, error) in [
        (vec!["s", "", "", "", "", "1", suffix, "x", "more"], "syntax error"),
        (vec!["s", "", "", "", "", "1", "short", "x"], "syntax error"),
        (vec!["s", "", "", "1", "", "1", suffix, "x", "soon"], "not an integer"),
        (vec!["s", "", "", "1", "1", "1", suffix, "x", "5"], "syntax error"),
    ] {
        let args = [&["RSMQ.SEND", MESSAGES, HASH], arguments.as_slice()].concat();
        let reply = pair.commanded.run(pair.now, WORKER, &args).to_string();
        assert!(reply.contains(error), "{args:?}: {reply}");
    }
    for args in [
        ["RSMQ.SEND", HASH, HASH, "s", "", "", "", "", "1", suffix, "x"].as_slice(),
        &["RSMQ.RECEIVE", HASH, HASH, "s", "1", ""],
        &["RSMQ.DELETE", HASH, HASH, "x", ""],
    ] {
        let reply = pair.commanded.run(pair.now, WORKER, args).to_string();
        assert!(reply.contains("WRONGTYPE"), "{args:?}: {reply}");
    }
    for args in [
        ["RSMQ.RECEIVE", MESSAGES, HASH, "s", "many", ""].as_slice(),
        &["RSMQ.RECEIVE", MESSAGES, HASH, "s", "-1", ""],
        &["RSMQ.RECEIVE", MESSAGES, HASH, "s", "1", "later"],
    ] {
        let reply = pair.commanded.run(pair.now, WORKER, args).to_string();
        assert!(reply.contains("not an integer"), "{args:?}: {reply}");
    }
    assert_eq!(pair.commanded.state(pair.now), before);
}
