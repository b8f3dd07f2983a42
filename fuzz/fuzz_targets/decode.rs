//! Any bytes, whole and split in two: the decoder neither panics nor reads two different things.

#![no_main]

use cauce_resp::{Decoder, Limits, ProtocolError};
use libfuzzer_sys::fuzz_target;

type Request = Vec<Vec<u8>>;

fuzz_target!(|input: (usize, Vec<u8>)| {
    let (at, bytes) = input;
    let at = at % (bytes.len() + 1);
    assert_eq!(decode(&[&bytes]), decode(&[&bytes[..at], &bytes[at..]]));
});

fn decode(pieces: &[&[u8]]) -> (Vec<Request>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(Limits::default());
    let (mut buffer, mut requests) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(taken)) => {
                    let spans = decoder.spans().iter();
                    requests.push(spans.map(|span| buffer[span.start..span.end].to_vec()).collect());
                    buffer.drain(..taken);
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}
