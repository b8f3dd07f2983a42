//! What a connection sent and the broker has not dealt with.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use cauce_resp::{Decoder, ProtocolError, Span};
use tokio::io::{AsyncRead, ReadBuf};

/// A connection that sends little costs little.
const FIRST_BYTES: usize = 2 * 1024;
/// A connection that fills its buffer gets a larger one, up to this: fewer reads, and larger batches.
const READ_BYTES: usize = 32 * 1024;
/// More than this is given back when it is not needed any longer.
const KEPT_BYTES: usize = 64 * 1024;
/// Most requests of one batch: a bound on how long the engine is held.
const BATCH_MAX: usize = 512;

/// Received bytes, and the requests found in them.
#[derive(Debug)]
pub(crate) struct Input {
    /// Initialised throughout; `start..end` are received and not dealt with.
    buffer: Vec<u8>,
    start: usize,
    /// Where the decoder goes on: found requests end here.
    found: usize,
    end: usize,
    decoder: Decoder,
    /// Arguments of the batch, counted from the buffer's first byte.
    spans: Vec<Span>,
    requests: Vec<Request>,
    /// How many of `requests` and `spans` are dealt with.
    requests_done: usize,
    spans_done: usize,
    /// What follows the found requests cannot be understood.
    error: Option<ProtocolError>,
}

/// A whole request of the batch.
#[derive(Debug, Clone, Copy)]
struct Request {
    /// Its arguments end here in `spans`.
    spans_end: usize,
    /// Its bytes end here in the buffer.
    end: usize,
}

impl Input {
    pub(crate) fn new(decoder: Decoder) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            found: 0,
            end: 0,
            decoder,
            spans: Vec::new(),
            requests: Vec::new(),
            requests_done: 0,
            spans_done: 0,
            error: None,
        }
    }

    /// Bytes received and not dealt with.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// Reads once. `Ok(0)` is the end of the stream.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        io: Pin<&mut impl AsyncRead>,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(self.buffer.get_mut(self.end..).unwrap_or_default());
        match io.poll_read(cx, &mut room) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let received = room.filled().len();
                self.end += received;
                Poll::Ready(Ok(received))
            }
        }
    }

    /// Finds whole requests, at most `max` in all; says how many wait to be run. A protocol error is returned
    /// only when no request before it is left.
    pub(crate) fn find_requests(&mut self, max: usize) -> Result<usize, ProtocolError> {
        if self.requests_done == self.requests.len() {
            self.requests.clear();
            self.spans.clear();
            (self.requests_done, self.spans_done) = (0, 0);
            self.decode(max.min(BATCH_MAX));
        }
        match self.error {
            Some(error) if self.requests.is_empty() => Err(error),
            _ => Ok(self.requests.len() - self.requests_done),
        }
    }

    fn decode(&mut self, max: usize) {
        while self.requests.len() < max && self.error.is_none() {
            let bytes = self.buffer.get_mut(self.found..self.end).unwrap_or_default();
            match self.decoder.decode(bytes) {
                Ok(Some(consumed)) => {
                    let at = self.found;
                    let spans = self.decoder.spans().iter();
                    self.spans.extend(spans.map(|span| Span { start: at + span.start, end: at + span.end }));
                    self.found += consumed;
                    self.requests.push(Request { spans_end: self.spans.len(), end: self.found });
                }
                Ok(None) => return,
                Err(error) => self.error = Some(error),
            }
        }
    }

    /// Hands the found requests to `run`, one by one, until it returns false. Those handed over are dealt
    /// with; the others are still there.
    pub(crate) fn run_requests(&mut self, mut run: impl FnMut(&[&[u8]]) -> bool) {
        let mut args: Vec<&[u8]> = Vec::with_capacity(16);
        for request in self.requests.get(self.requests_done..).unwrap_or_default() {
            args.clear();
            let spans = self.spans.get(self.spans_done..request.spans_end).unwrap_or_default();
            args.extend(spans.iter().map(|span| self.buffer.get(span.start..span.end).unwrap_or_default()));
            self.spans_done = request.spans_end;
            self.requests_done += 1;
            self.start = request.end;
            if !args.is_empty() && !run(&args) {
                break;
            }
        }
        if self.start == self.end {
            (self.start, self.found, self.end) = (0, 0, 0);
            if self.buffer.len() > KEPT_BYTES {
                self.buffer = Vec::new();
            }
        }
    }

    fn make_room(&mut self) {
        if self.end < self.buffer.len() {
            return;
        }
        let nothing_found = self.requests_done == self.requests.len();
        let roomy = self.buffer.len() >= READ_BYTES;
        if nothing_found && roomy && self.start > self.buffer.len() / 2 {
            debug_assert_eq!(self.start, self.found, "all that was found is dealt with");
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.found, self.end) = (0, 0, self.end - self.start);
        } else {
            // Doubles at most: memory follows the bytes that came, not a length that was announced.
            let len = (self.buffer.len() * 2).max(FIRST_BYTES);
            self.buffer.resize(len, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(input: &mut Input, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            match input.poll_fill(&mut cx, Pin::new(&mut bytes)) {
                Poll::Ready(Ok(_)) => {}
                other => panic!("a slice is always ready: {other:?}"),
            }
        }
    }

    fn run(input: &mut Input, max: usize) -> Vec<String> {
        let mut seen = Vec::new();
        input.run_requests(|args| {
            seen.push(args.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" "));
            seen.len() < max
        });
        seen
    }

    #[test]
    fn requests_that_were_not_run_are_still_there() {
        let mut input = Input::new(Decoder::default());
        fill(&mut input, b"SET a \"x\\ny\"\r\nGET 'a b'\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI");
        assert_eq!(input.find_requests(10), Ok(3));
        assert_eq!(run(&mut input, 1), ["SET a x\ny"]);
        assert_eq!(input.find_requests(10), Ok(2));
        fill(&mut input, b"NG\r\n");
        assert_eq!(run(&mut input, 10), ["GET a b", "PING"]);
        assert_eq!(input.find_requests(10), Ok(1));
        assert_eq!(run(&mut input, 10), ["PING"]);
        assert_eq!((input.find_requests(10), input.len()), (Ok(0), 0));
    }

    #[test]
    fn a_protocol_error_comes_after_the_requests_before_it() {
        let mut input = Input::new(Decoder::default());
        fill(&mut input, b"PING\r\n*x\r\n");
        assert_eq!(input.find_requests(10), Ok(1));
        assert_eq!(run(&mut input, 10), ["PING"]);
        assert_eq!(input.find_requests(10), Err(ProtocolError::InvalidArgumentCount));
    }

    #[test]
    fn long_input_is_kept_in_bounds() {
        let mut input = Input::new(Decoder::default());
        for _ in 0..10_000 {
            fill(&mut input, b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\n");
            assert!(input.find_requests(10).is_ok());
            run(&mut input, 10);
            fill(&mut input, b"PING\r\n");
        }
        assert!(input.buffer.len() <= 2 * READ_BYTES, "{}", input.buffer.len());
    }
}
