//! Argument generators: one per kind that the table names.

use super::episode::{Arg, Generated};
use super::grammar::Part;
use super::world::{AUTO, Id, STREAMS, World};

/// Makes one command.
pub(super) struct Draw<'a> {
    rng: &'a mut fastrand::Rng,
    world: &'a mut World,
    key: usize,
    args: Vec<Arg>,
    options: Vec<String>,
    runs_out: bool,
}

type Generator = fn(&mut Draw<'_>);

/// The generators by name.
const KINDS: &[(&str, Generator)] = &[
    ("channel", |draw| draw.one_of(&["c1", "c2", "d1"])),
    ("client", |draw| {
        let client = draw.rng.usize(..draw.world.clients);
        draw.args.push(Arg::Client(client));
    }),
    ("consumer", |draw| draw.one_of(&["alice", "bob", "carol"])),
    ("count", |draw| draw.one_of(&["1", "2", "3", "10", "1", "2", "3", "10", "0", "-1"])),
    ("cursor", |draw| draw.cursor()),
    ("end", |draw| draw.bound("+")),
    ("field", |draw| draw.one_of(&["f", "g", "f", ""])),
    ("group", |draw| draw.one_of(&["g", "g", "g", "g", "g", "g", "h", "i"])),
    ("id", |draw| draw.id()),
    ("idle", |draw| draw.one_of(&["0", "5000000", "5000000"])),
    ("key", |draw| draw.key_but_stream(4)),
    ("key-pattern", |draw| draw.one_of(&["*", "?", "[a-c]", "a*", "nos"])),
    ("length", |draw| draw.one_of(&["0", "1", "2", "3", "5", "8"])),
    ("limit", |draw| draw.one_of(&["0", "1", "10", "1000"])),
    ("milliseconds", |draw| draw.time_to_live(1_000)),
    ("min-idle", |draw| draw.one_of(&["0", "0", "0", "3000000"])),
    ("new-id", |draw| draw.new_id()),
    ("past-ms", |draw| draw.one_of(&["1", "1000000"])),
    ("pattern", |draw| draw.one_of(&["c*", "*", "c[12]", "?1", "d1", "nos*"])),
    ("seconds", |draw| match draw.rng.u8(..6) {
        0 => draw.one_of(&["-1", "0"]),
        _ => draw.later(1),
    }),
    ("small", |draw| draw.one_of(&["0", "1", "2", "3", "5", "20"])),
    ("start", |draw| draw.bound("-")),
    ("stream", |draw| draw.stream()),
    ("streams-group", |draw| draw.streams(&[">", ">", ">", "0"])),
    ("streams-new", |draw| draw.streams_once(&[">"])),
    ("streams-read", |draw| draw.streams(&["0", "0", "$", ""])),
    ("streams-wait", |draw| draw.streams_once(&["$", "$", "0", ""])),
    ("timeout", |draw| {
        let timeout = if draw.world.may_block && draw.rng.u8(..4) > 0 { "0" } else { "1" };
        draw.text(timeout);
    }),
    ("string-key", |draw| draw.key_but_stream(20)),
    ("type", |draw| draw.one_of(&["stream", "string", "hash"])),
    ("unix-milliseconds", |draw| draw.point_in_time(&["99999999999123", "99999999999999"])),
    ("unix-seconds", |draw| draw.point_in_time(&["99999999999", "99999999998"])),
    ("value", |draw| draw.one_of(&["1", "2", "three", ""])),
];

impl Draw<'_> {
    /// Makes a command from a row's parts.
    pub(super) fn command(rng: &mut fastrand::Rng, world: &mut World, parts: &[Part]) -> Generated {
        let mut draw = Draw { rng, world, key: 0, args: Vec::new(), options: Vec::new(), runs_out: false };
        draw.parts(parts);
        let words = parts.iter().map_while(|part| match part {
            Part::Word(word) => Some(word.as_str()),
            _ => None,
        });
        let name = name_of(words);
        let mut generated = Generated {
            args: draw.args,
            name,
            options: draw.options,
            runs_out: draw.runs_out,
            spoiled: false,
        };
        if rng.u8(..) < 8 {
            spoil(rng, &mut generated);
        }
        if rng.u8(..) < 10 {
            change_case(&mut generated);
        }
        generated
    }

    /// Whether the table may name this kind.
    #[cfg(test)]
    pub(super) fn knows(kind: &str) -> bool {
        KINDS.iter().any(|(name, _)| *name == kind)
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            self.part(part);
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Word(word) => {
                self.options.push(word.clone());
                self.text(word);
            }
            Part::Kind(kind) => {
                let found = KINDS.iter().find(|(name, _)| name == kind);
                found.expect("a test checks that the table names only these kinds").1(self);
            }
            Part::Optional(parts) => {
                if self.rng.u8(..10) < 4 {
                    self.parts(parts);
                }
            }
            Part::Choice(choices) => {
                let choice = self.rng.usize(..choices.len());
                self.parts(&choices[choice]);
            }
            Part::Repeat(parts) => {
                for _ in 0..[1, 1, 2, 3][self.rng.usize(..4)] {
                    self.parts(parts);
                }
            }
            Part::AnyOrder(parts) => {
                let mut order: Vec<&Part> = parts.iter().collect();
                self.rng.shuffle(&mut order);
                for part in order {
                    self.part(part);
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.args.push(Arg::Bytes(text.as_bytes().to_vec()));
    }

    fn one_of(&mut self, choices: &[&str]) {
        let choice = choices[self.rng.usize(..choices.len())];
        self.text(choice);
    }

    /// A stream, mostly the first; sometimes a key of another kind.
    fn stream(&mut self) {
        self.key = self.some_stream();
        self.text(World::name(self.key));
    }

    fn some_stream(&mut self) -> usize {
        match self.rng.u8(..100) {
            0..50 => 0,
            50..75 => 1,
            75..85 => 2,
            85..93 => AUTO,
            _ => self.rng.usize(STREAMS..self.world.keys()),
        }
    }

    /// A key of another kind, mostly; one time in so many a stream.
    fn key_but_stream(&mut self, times: u8) {
        self.key = if self.rng.u8(..times) == 0 {
            self.rng.usize(..STREAMS)
        } else {
            self.rng.usize(STREAMS..self.world.keys())
        };
        let name = World::name(self.key);
        self.text(name);
    }

    /// An id that exists or existed, mostly.
    fn id(&mut self) {
        if self.key == AUTO && self.world.autos > 0 {
            let back = self.rng.usize(..self.world.autos.min(6));
            self.args.push(Arg::Auto(self.world.autos - 1 - back));
            return;
        }
        let id = self.some_id();
        self.text(&format!("{}-{}", id.ms, id.seq));
    }

    fn some_id(&mut self) -> Id {
        let ids = self.world.ids(self.key);
        if ids.is_empty() || self.rng.u8(..8) == 0 {
            return Id { ms: self.rng.u64(..12), seq: self.rng.u64(..4) };
        }
        ids[self.rng.usize(..ids.len())]
    }

    /// An id above the last one, mostly.
    fn new_id(&mut self) {
        let last = self.world.last(self.key);
        let id = match self.rng.u8(..20) {
            0..14 if self.rng.bool() => Id { ms: last.ms, seq: last.seq + 1 },
            0..14 => Id { ms: last.ms + 1, seq: self.rng.u64(..2) },
            14..16 => {
                let ms = last.ms + self.rng.u64(..2);
                self.world.added(self.key, Id { ms, seq: 0 });
                return self.text(&format!("{ms}-*"));
            }
            16 => {
                let ms = last.ms + self.rng.u64(..2);
                self.world.added(self.key, Id { ms, seq: 0 });
                return self.text(&ms.to_string());
            }
            _ => Id { ms: self.rng.u64(..8), seq: self.rng.u64(..3) },
        };
        self.world.added(self.key, id);
        self.text(&format!("{}-{}", id.ms, id.seq));
    }

    /// A bound of a range.
    fn bound(&mut self, open: &str) {
        match self.rng.u8(..10) {
            0..4 => self.text(open),
            4..8 => self.id(),
            8 => {
                let id = self.some_id();
                self.text(&format!("({}-{}", id.ms, id.seq));
            }
            _ => {
                let id = self.some_id();
                self.text(&id.ms.to_string());
            }
        }
    }

    /// Where a group begins.
    fn cursor(&mut self) {
        match self.rng.u8(..10) {
            0..5 => self.text("0"),
            5..8 => self.text("$"),
            _ => self.id(),
        }
    }

    /// One to three keys, then as many ids; an empty one stands for an id of the key.
    fn streams(&mut self, ids: &[&str]) {
        let keys = self.stream_keys();
        self.keys_and_ids(&keys, ids);
    }

    /// The same without naming a key twice: a waiter that does is woken by either of its ids only from 7.2 on.
    fn streams_once(&mut self, ids: &[&str]) {
        let mut keys = self.stream_keys();
        keys.sort_unstable();
        keys.dedup();
        self.rng.shuffle(&mut keys);
        self.keys_and_ids(&keys, ids);
    }

    fn stream_keys(&mut self) -> Vec<usize> {
        let count = [1, 1, 1, 2, 2, 3][self.rng.usize(..6)];
        (0..count).map(|_| self.some_stream()).collect()
    }

    fn keys_and_ids(&mut self, keys: &[usize], ids: &[&str]) {
        for key in keys {
            self.text(World::name(*key));
        }
        for key in keys {
            self.key = *key;
            match ids[self.rng.usize(..ids.len())] {
                "" => self.id(),
                id => self.text(id),
            }
        }
    }

    /// A time that runs out before the next step, or one that never does in a run.
    fn time_to_live(&mut self, scale: u32) {
        if self.world.may_expire && self.rng.u8(..3) == 0 {
            self.runs_out = true;
            self.text("2");
        } else {
            self.later(scale);
        }
    }

    /// A far day, or one long past: a key that is given it is gone, but counted until the server notices.
    fn point_in_time(&mut self, far: &[&str]) {
        if self.world.may_expire && self.rng.u8(..3) == 0 {
            self.runs_out = true;
            self.text("1");
        } else {
            self.one_of(far);
        }
    }

    /// Hours from now, in units of 1/scale seconds: far enough apart that the speed of a run does not order them.
    fn later(&mut self, scale: u32) {
        let seconds = self.rng.u32(100..10_000) * 10;
        self.text(&(seconds * scale).to_string());
    }
}

/// A command's name: its first words, as far as they are in capitals.
pub(super) fn name_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let name: Vec<&str> =
        words.take_while(|word| word.chars().all(|char| char.is_ascii_uppercase())).collect();
    name.join(" ")
}

/// Makes a command that is probably wrong.
fn spoil(rng: &mut fastrand::Rng, generated: &mut Generated) {
    generated.spoiled = true;
    let args = &mut generated.args;
    for arg in args.iter_mut() {
        // An error that repeats its argument must repeat the same one on both sides.
        if matches!(arg, Arg::Client(_)) {
            *arg = Arg::Bytes(b"0".to_vec());
        }
    }
    let at = rng.usize(1..=args.len());
    let junk = ["", "x", "-1", "99999999999999999999", "0-0", "(1-1", "1-1-1", "$", ">", "*", "COUNT"];
    let junk = Arg::Bytes(junk[rng.usize(..junk.len())].as_bytes().to_vec());
    match rng.u8(..4) {
        0 if at < args.len() => {
            args.remove(at);
        }
        1 if at < args.len() => args[at] = junk,
        2 if at < args.len() => args.insert(at, args[at].clone()),
        _ => args.insert(at, junk),
    }
}

/// Names and options are of any case.
fn change_case(generated: &mut Generated) {
    for arg in &mut generated.args {
        if let Arg::Bytes(bytes) = arg
            && bytes.len() > 1
            && bytes.iter().all(u8::is_ascii_uppercase)
        {
            bytes.make_ascii_lowercase();
        }
    }
}
