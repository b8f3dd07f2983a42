//! Any commands of three clients: the engine never panics, answers in whole replies, and its records rebuild its state.
//!
//! One command per line, words between spaces; a line that begins with a digit and a colon is of that client.

#![no_main]

use cauce_fuzz::Pair;
use libfuzzer_sys::fuzz_target;

/// Lines of one input that are run.
const LINES_MAX: usize = 200;

fuzz_target!(|input: &[u8]| {
    let mut pair = Pair::default();
    (1..=3).for_each(|session| pair.open(session));
    for line in input.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let (session, line) = match line {
            [b'2', b':', rest @ ..] => (2, rest),
            [b'3', b':', rest @ ..] => (3, rest),
            _ => (1, line),
        };
        let args: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|arg| !arg.is_empty()).collect();
        if !args.is_empty() {
            pair.run(session, &args);
        }
    }
    pair.check();
});
