//! What became of the requests under way: a place for each, which its caller finds without a search.

use std::task::Waker;

use super::Lost;
use crate::backend::replies::Replies;

pub(super) type Answer = Result<Replies, Lost>;

#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

enum Slot {
    Free,
    Waiting {
        replies: usize,
        waker: Option<Waker>,
    },
    /// Its caller has gone; its replies come nonetheless.
    Abandoned {
        replies: usize,
    },
    Answered(Answer),
}

impl Slots {
    /// The place of a new request.
    pub(super) fn begin(&mut self, replies: usize) -> usize {
        let slot = Slot::Waiting { replies, waker: None };
        match self.free.pop().and_then(|place| Some((place, self.slots.get_mut(place)?))) {
            Some((place, free)) => {
                *free = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    /// How many replies it gets.
    pub(super) fn replies(&self, place: usize) -> usize {
        match self.slots.get(place) {
            Some(Slot::Waiting { replies, .. } | Slot::Abandoned { replies }) => *replies,
            _ => 0,
        }
    }

    /// Whom its answer wakes.
    pub(super) fn wait(&mut self, place: usize, waiting: Option<&Waker>) {
        if let Some(Slot::Waiting { waker, .. }) = self.slots.get_mut(place) {
            match (waker.as_ref(), waiting) {
                (Some(known), Some(waiting)) if known.will_wake(waiting) => {}
                (_, waiting) => *waker = waiting.cloned(),
            }
        }
    }

    /// Keeps the answer for its caller, who is to be woken.
    pub(super) fn answer(&mut self, place: usize, answer: Answer) -> Option<Waker> {
        let slot = self.slots.get_mut(place)?;
        match std::mem::replace(slot, Slot::Answered(answer)) {
            Slot::Waiting { waker, .. } => waker,
            _ => {
                self.release(place);
                None
            }
        }
    }

    /// The answer, if there is one; the place is free then.
    pub(super) fn take(&mut self, place: usize) -> Option<Answer> {
        let slot = self.slots.get_mut(place)?;
        match slot {
            Slot::Answered(_) => match std::mem::replace(slot, Slot::Free) {
                Slot::Answered(answer) => {
                    self.free.push(place);
                    Some(answer)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Nobody waits for it any more. Whether its replies are still to come.
    pub(super) fn abandon(&mut self, place: usize) -> bool {
        match self.slots.get_mut(place) {
            Some(slot @ Slot::Waiting { .. }) => {
                let Slot::Waiting { replies, .. } = *slot else { return false };
                *slot = Slot::Abandoned { replies };
                true
            }
            Some(Slot::Answered(_)) => {
                self.release(place);
                false
            }
            _ => false,
        }
    }

    fn release(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Slot::Free;
            self.free.push(place);
        }
    }

    /// How many places there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
