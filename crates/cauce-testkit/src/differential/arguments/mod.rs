//! Argument generators: one per kind that the table names.

mod collections;
mod kinds;
mod scripts;
mod streams;

use super::episode::{Arg, Generated};
use super::grammar::Part;
use super::table::name_of;
use super::world::{AUTO, Holds, KEYS, World};
use kinds::KINDS;

pub(super) use scripts::{LOADED, wrap_in_getkeys, wrap_in_script};

/// Makes one command.
pub(super) struct Draw<'a> {
    rng: &'a mut fastrand::Rng,
    world: &'a mut World,
    /// The key that was chosen last.
    key: usize,
    /// The group that is read for.
    group: Option<&'static str>,
    /// How many keys were counted last.
    counted: usize,
    args: Vec<Arg>,
    options: Vec<String>,
    runs_out: bool,
}

impl Draw<'_> {
    /// Makes a command from a row's parts.
    pub(super) fn command(rng: &mut fastrand::Rng, world: &mut World, parts: &[Part]) -> Generated {
        let mut draw = Draw {
            rng,
            world,
            key: 0,
            group: None,
            counted: 0,
            args: Vec::new(),
            options: Vec::new(),
            runs_out: false,
        };
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
            inner_at: None,
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

    /// Appends the name of a key, which the next arguments may be about.
    fn named(&mut self, key: usize) {
        self.key = key;
        self.text(World::name(key));
    }

    /// A key of any kind, mostly one that is there, and one time in so many from among the streams.
    fn any_key(&mut self, times: u8) {
        let from = self.world.others_from;
        let streams = from > 0 && self.rng.u8(..times) == 0;
        let there = self.world.holding(from, |holds| holds != Holds::Nothing);
        let key = match () {
            () if streams => self.rng.usize(..AUTO),
            () if there.is_empty() || self.rng.u8(..5) == 0 => self.key_but_auto(from),
            () => there[self.rng.usize(..there.len())],
        };
        self.named(key);
    }

    /// A key that holds what is wanted, mostly, or one that may come to hold `what`; seldom another.
    fn key_of(&mut self, what: Holds, wanted: impl Fn(Holds) -> bool) {
        let from = self.world.others_from;
        let there = self.world.holding(from, wanted);
        let free = self.world.holding(from, |holds| holds == Holds::Nothing);
        let key = match self.rng.u8(..100) {
            0..80 if !there.is_empty() => there[self.rng.usize(..there.len())],
            0..96 if !free.is_empty() => {
                let key = free[self.rng.usize(..free.len())];
                self.world.set_holds(key, what);
                key
            }
            0..96 if !there.is_empty() => there[self.rng.usize(..there.len())],
            _ => self.key_but_auto(0),
        };
        self.named(key);
    }

    /// Any key but the one with ids from the clock: if it went, the clock could make an id of it again.
    fn key_but_auto(&mut self, from: usize) -> usize {
        loop {
            let key = self.rng.usize(from..KEYS.len());
            if key != AUTO {
                return key;
            }
        }
    }

    fn one_of(&mut self, choices: &[&str]) {
        let choice = choices[self.rng.usize(..choices.len())];
        self.text(choice);
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
