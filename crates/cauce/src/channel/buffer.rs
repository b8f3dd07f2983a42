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
    length_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// What the messages among them take.
    bytes: usize,
    reader: Option<Waker>,
}

impl Buffer {
    /// Full with so many messages or so many bytes of them, whichever comes first.
    pub(super) fn new(length_max: usize, bytes_max: usize) -> Self {
        Self { length_max, bytes_max, state: Mutex::default() }
    }

    pub(super) fn message(&self, channel: Vec<u8>, body: Vec<u8>) {
        let mut state = self.lock();
        if state.items.len() < self.length_max && state.bytes < self.bytes_max {
            state.bytes += channel.len() + body.len();
            state.items.push_back(Item::Message { channel, body });
            return wake(state);
        }
        let counted = state.gaps().find_map(|item| match item {
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
        if !state.gaps().any(|item| *item == Item::Reconnected) {
            state.items.push_back(Item::Reconnected);
        }
        wake(state);
    }

    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Item> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            if let Item::Message { channel, body } = &item {
                state.bytes -= channel.len() + body.len();
            }
            return Poll::Ready(item);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What happened since the last message: at most one gap of each kind.
    fn gaps(&mut self) -> impl Iterator<Item = &mut Item> {
        self.items.iter_mut().rev().take_while(|item| !matches!(item, Item::Message { .. }))
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
        let buffer = Buffer::new(2, 1000);
        for number in 0..5 {
            buffer.message(vec![b'c'], vec![number]);
        }
        assert_eq!(drain(&buffer), [message(0), message(1), Item::Missed(3)]);
        buffer.message(vec![b'c'], vec![5]);
        assert_eq!(drain(&buffer), [message(5)]);
    }

    #[test]
    fn it_stays_bounded_whatever_happens() {
        let buffer = Buffer::new(1, 1000);
        for _ in 0..100 {
            buffer.message(vec![b'c'], vec![0]);
            buffer.reconnected();
            buffer.reconnected();
        }
        assert_eq!(drain(&buffer), [message(0), Item::Reconnected, Item::Missed(99)]);
    }

    #[test]
    fn bytes_fill_it_as_well() {
        let buffer = Buffer::new(100, 4);
        for number in 0..5 {
            buffer.message(vec![b'c'], vec![number]);
        }
        assert_eq!(drain(&buffer), [message(0), message(1), Item::Missed(3)]);
        buffer.message(vec![b'c'], vec![0; 1000]);
        buffer.message(vec![b'c'], vec![1]);
        assert_eq!(drain(&buffer).last(), Some(&Item::Missed(1)), "one message of any size is taken");
    }
}
