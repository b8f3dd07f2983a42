//! What happened in a run, line by line.

use std::sync::{Mutex, PoisonError};

use crate::simulated::kit;

/// Lines that a story keeps.
const LINES_MAX: usize = 5_000;

#[derive(Debug, Default)]
pub(super) struct Story(Mutex<Vec<String>>);

impl Story {
    pub(super) fn tell(&self, what: impl std::fmt::Display) {
        let at = kit::elapsed().unwrap_or_default().as_secs_f64();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.len() {
            length if length < LINES_MAX => lines.push(format!("{at:>9.3} s  {what}")),
            LINES_MAX => lines.push("(and so on)".to_owned()),
            _ => {}
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
