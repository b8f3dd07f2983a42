//! Cuts a sequence down to the fewest steps that still show what it shows.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::episode::{Arg, Step};
use super::invent::unfair;

/// The time that shrinking may take, so that a slow failure is still reported.
const PATIENCE: Duration = Duration::from_secs(20);

/// Leaves out steps, then commands of steps, as long as `shows` holds.
pub(super) fn shrink(mut steps: Vec<Step>, mut shows: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let begun = Instant::now();
    let mut still = |steps: &[Step]| begun.elapsed() < PATIENCE && shows(steps);
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let before = steps.len();
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(fewer.len()));
            if still(&fewer) {
                steps = fewer;
            } else {
                at += size;
            }
        }
        if size > 1 {
            size /= 2;
        } else if steps.len() == before {
            break;
        }
    }
    for at in 0..steps.len() {
        let mut command = 0;
        while steps[at].commands.len() > 1 && command < steps[at].commands.len() {
            let mut fewer = steps.clone();
            fewer[at].commands.remove(command);
            if still(&fewer) {
                steps = fewer;
            } else {
                command += 1;
            }
        }
    }
    without_arguments(steps, &mut still)
}

/// Leaves out arguments that do not matter, from the end.
fn without_arguments(mut steps: Vec<Step>, still: &mut dyn FnMut(&[Step]) -> bool) -> Vec<Step> {
    for at in 0..steps.len() {
        for command in 0..steps[at].commands.len() {
            let args = &steps[at].commands[command].args;
            // Elsewhere in the command it would be repeated by an error, and each server has its own.
            if args.iter().any(|arg| matches!(arg, Arg::Client(_))) {
                continue;
            }
            let mut arg = args.len();
            while arg > 1 {
                arg -= 1;
                let mut fewer = steps.clone();
                let mut shorter = (*fewer[at].commands[command]).clone();
                if shorter.inner_at.is_some_and(|at| arg <= at) {
                    break;
                }
                shorter.args.remove(arg);
                if unfair(&shorter) {
                    continue;
                }
                fewer[at].commands[command] = Rc::new(shorter);
                if still(&fewer) {
                    steps = fewer;
                }
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::super::episode::Generated;
    use super::*;

    #[test]
    fn only_what_matters_is_left() {
        let ping = || Rc::new(Generated::plain(&["PING", "x"]));
        let step = |client| Step { client, commands: vec![ping(), ping()] };
        let steps = (0..100).map(step).collect();
        let shows =
            |steps: &[Step]| [17, 80].iter().all(|client| steps.iter().any(|step| step.client == *client));
        let shrunk = shrink(steps, shows);
        assert_eq!(shrunk.iter().map(|step| step.client).collect::<Vec<_>>(), [17, 80]);
        assert!(shrunk.iter().all(|step| step.commands.len() == 1 && step.commands[0].args.len() == 1));
    }
}
