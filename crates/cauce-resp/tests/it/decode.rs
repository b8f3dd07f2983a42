//! Hostile and broken input for the decoder: whatever comes, it neither panics nor makes things up, and the pieces in
//! which the bytes arrive make no difference. `PROPTEST_CASES` says how many inputs are tried.

use cauce_resp::{Decoder, Limits, ProtocolError};
use proptest::prelude::*;

type Request = Vec<Vec<u8>>;

/// Feeds the input cut at the given places; returns the requests found before the end or an error.
fn decode(
    input: &[u8],
    cuts: &[prop::sample::Index],
    limits: Limits,
) -> (Vec<Request>, Option<ProtocolError>) {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    places.push(input.len());
    places.sort_unstable();
    let mut decoder = Decoder::new(limits);
    let (mut buffer, mut requests, mut fed) = (Vec::new(), Vec::new(), 0);
    for place in places {
        buffer.extend_from_slice(&input[fed..place]);
        fed = place;
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(consumed)) => {
                    assert!(0 < consumed && consumed <= buffer.len(), "{consumed} of {} bytes", buffer.len());
                    requests.push(
                        decoder.spans().iter().map(|span| buffer[span.start..span.end].to_vec()).collect(),
                    );
                    buffer.drain(..consumed);
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// A request as clients send it.
fn request() -> impl Strategy<Value = Request> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)
}

fn encoded(request: &Request) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What the protocol is made of, in any order: headers with sane and insane numbers, line ends, quotes, arguments.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => request().prop_map(|request| encoded(&request)),
        2 => (prop::sample::select(&b"*$"[..]), -2..12_i64).prop_map(|(kind, n)| format!("{}{n}\r\n", char::from(kind)).into_bytes()),
        1 => (prop::sample::select(&b"*$"[..]), any::<i64>()).prop_map(|(kind, n)| format!("{}{n}\r\n", char::from(kind)).into_bytes()),
        2 => prop::sample::select(&["\r\n", "\n", "\r", "$", "*", "\"", "'", "\\x4", "\\", " ", "\0", "PING", "+"][..]).prop_map(Into::into),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![Just(Limits::default()), Just(Limits::UNAUTHENTICATED)]
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

proptest! {
    #[test]
    fn what_clients_send_is_what_is_found(requests in prop::collection::vec(request(), 0..8), cuts in cuts()) {
        let input: Vec<u8> = requests.iter().flat_map(encoded).collect();
        prop_assert_eq!(decode(&input, &cuts, Limits::default()), (requests, None));
    }

    #[test]
    fn pieces_make_no_difference(
        fragments in prop::collection::vec(fragment(), 0..12),
        cuts in cuts(),
        limits in limits(),
    ) {
        let input = fragments.concat();
        let (whole, error) = decode(&input, &[], limits);
        prop_assert!(whole.iter().flatten().map(Vec::len).sum::<usize>() <= input.len(), "arguments are made of the input");
        prop_assert_eq!(decode(&input, &cuts, limits), (whole, error));
    }
}
