//! Arguments of commands of strings, hashes, sets and sorted sets.

use super::super::world::{Holds, LEX};
use super::Draw;

/// Longer than the compact encodings hold in one element.
const LONG: &str =
    "a text that is longer than sixty-four bytes, so that no compact encoding of a collection holds it";

impl Draw<'_> {
    /// A key that is there, mostly.
    pub(super) fn key_there(&mut self) {
        let there = self.world.holding(self.world.others_from, |holds| holds != Holds::Nothing);
        if there.is_empty() || self.rng.u8(..10) == 0 {
            return self.any_key(4);
        }
        let key = there[self.rng.usize(..there.len())];
        self.named(key);
    }

    pub(super) fn string_value(&mut self) {
        match self.rng.u8(..40) {
            0 => self.text(LONG),
            1..16 => self.one_of(&["1", "2", "10", "-5", "0", "1000000", "3.5", "3.0", "-0.25"]),
            16..18 => self.one_of(&[
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775808",
                " 1",
                "01",
            ]),
            _ => self.one_of(&["abc", "hello world", "", "three", "ohmytext", "mynewtext"]),
        }
    }

    pub(super) fn hash_field(&mut self) {
        match self.rng.u8(..40) {
            0 => self.text(LONG),
            1..6 => self.one_of(&["n1", "n2", "e1", "e100", ""]),
            _ => self.one_of(&["m1", "m2", "m3", "m4"]),
        }
    }

    /// A field and a value: a number where the field is one that is counted with.
    pub(super) fn hash_pair(&mut self) {
        if self.rng.u8(..4) == 0 {
            self.one_of(&["n1", "n2"]);
            return self.one_of(&["1", "-7", "2.5", "100"]);
        }
        self.hash_field();
        self.string_value();
    }

    pub(super) fn member(&mut self) {
        match self.rng.u8(..60) {
            0 => self.text(LONG),
            1..4 => self.one_of(&["", "e1", "e100", "e7"]),
            4..10 => self.one_of(&["1", "2", "3", "37"]),
            _ => self.one_of(&["m1", "m2", "m3", "m4", "m5"]),
        }
    }

    pub(super) fn score(&mut self) {
        match self.rng.u8(..16) {
            0 => self.one_of(&["inf", "-inf", "+inf", "1e20", "-1.5e300", "nan", "1e-10"]),
            1..4 => self.one_of(&["0.1", "2.5", "-3.25", "3.0", "1e3", "0x10", "17.000000001"]),
            _ => self.one_of(&["1", "2", "3", "-1", "0", "10"]),
        }
    }

    pub(super) fn score_bound(&mut self, open: &str) {
        match self.rng.u8(..10) {
            0..4 => self.text(open),
            4..6 => self.one_of(&["(1", "(2", "(-1", "(0", "(inf"]),
            _ => self.one_of(&["0", "1", "2", "2.5", "3", "-3", "10", "-inf", "inf"]),
        }
    }

    pub(super) fn lex(&mut self) {
        match self.rng.u8(..30) {
            0 => self.one_of(&["lua", "nosuch"]),
            _ => self.text(LEX),
        }
    }

    pub(super) fn lex_bound(&mut self, open: &str) {
        match self.rng.u8(..10) {
            0..4 => self.text(open),
            _ => self.one_of(&["[a", "(b", "[c", "(aa", "[d", "[", "(", "[z", "-", "+"]),
        }
    }

    /// A score and a member.
    pub(super) fn lex_member(&mut self) {
        self.text("0");
        self.one_of(&["a", "b", "c", "d", "aa", "B", "", "bcd"]);
    }

    /// More elements than the compact encodings hold.
    pub(super) fn many(&mut self, one: impl Fn(&mut Self, usize)) {
        let count = [20, 130, 520][self.rng.usize(..3)];
        for index in 0..count {
            one(self, index);
        }
    }

    /// One to three keys behind their number.
    pub(super) fn counted(&mut self, key: impl Fn(&mut Self)) {
        self.counted = [1, 2, 2, 3][self.rng.usize(..4)];
        self.text(&self.counted.to_string());
        for _ in 0..self.counted {
            key(self);
        }
    }

    /// As many weights as keys were counted.
    pub(super) fn weights(&mut self) {
        for _ in 0..self.counted {
            self.one_of(&["1", "2", "0.5", "-1", "0", "3"]);
        }
    }
}
