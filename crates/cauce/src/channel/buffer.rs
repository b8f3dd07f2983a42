//! The bounded buffer between a subscription's connection and its reader.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One thing that happened on a subscription.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Message {
        channel: Vec<u8>,
        body: Vec<u8>,
    },
    /// So many messages came while the buffer was full.
    Missed(u64),
    /// The connection was lost and is there again.
    Reconnected,
}

/// Takes messages without ever waiting. When it is full, new ones are dropped and counted, and the reader finds the count
/// where they would have been.
#[derive(Debug)]
pub(super) struct Buffer {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    reader: Option<Waker>,
}

impl Buffer {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub(super) fn message(&self, channel: Vec<u8>, body: Vec<u8>) {
        let mut state = self.lock();
        if state.items.len() < self.limit {
            state.items.push_back(Item::Message { channel, body });
            return wake(state);
        }
        // Beyond the limit stands at most one of each kind of gap.
        let counted = state.items.range_mut(self.limit..).find_map(|item| match item {
            Item::Missed(count) => Some(count),
            _ => None,
        });
        match counted {
            Some(count) => *count += 1,
            None => state.items.push_back(Item::Missed(1)),
        }
        wake(state);
    }

    /// Notes a gap of unknown size, once however often the connection breaks before the reader looks.
    pub(super) fn reconnected(&self) {
        let mut state = self.lock();
        let full = state.items.len() >= self.limit;
        let noted = full && state.items.range(self.limit..).any(|item| *item == Item::Reconnected);
        if !noted && state.items.back() != Some(&Item::Reconnected) {
            state.items.push_back(Item::Reconnected);
        }
        wake(state);
    }

    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Item> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(item);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(buffer: &Buffer) -> Vec<Item> {
        let context = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match buffer.poll(&context) {
            Poll::Ready(item) => Some(item),
            Poll::Pending => None,
        })
        .collect()
    }

    fn message(number: u8) -> Item {
        Item::Message { channel: vec![b'c'], body: vec![number] }
    }

    #[test]
    fn a_full_buffer_counts_what_it_drops_where_it_is_missing() {
        let buffer = Buffer::new(2);
        for number in 0..5 {
            buffer.message(vec![b'c'], vec![number]);
        }
        assert_eq!(drain(&buffer), [message(0), message(1), Item::Missed(3)]);
        buffer.message(vec![b'c'], vec![5]);
        assert_eq!(drain(&buffer), [message(5)]);
    }

    #[test]
    fn it_stays_bounded_whatever_happens() {
        let buffer = Buffer::new(1);
        for _ in 0..100 {
            buffer.message(vec![b'c'], vec![0]);
            buffer.reconnected();
            buffer.reconnected();
        }
        assert_eq!(drain(&buffer), [message(0), Item::Reconnected, Item::Missed(99)]);
    }
}
