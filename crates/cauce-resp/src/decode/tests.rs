use super::*;

type Requests = Vec<Vec<Vec<u8>>>;

/// Feeds `input` in pieces of `step` bytes and returns the requests found before the end or an error.
fn decode_in_steps(input: &[u8], step: usize, limits: Limits) -> (Requests, Option<ProtocolError>) {
    let mut decoder = Decoder::new(limits);
    let (mut buffer, mut requests) = (Vec::new(), Vec::new());
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(consumed)) => {
                    let args = decoder.spans().iter().map(|s| buffer[s.start..s.end].to_vec()).collect();
                    requests.push(args);
                    buffer.drain(..consumed);
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// The only place that decodes: every input is fed whole and in pieces of every small size.
#[track_caller]
fn check_with(limits: Limits, input: &[u8], expected: &[&[&str]], error: Option<ProtocolError>) {
    let expected: Requests =
        expected.iter().map(|args| args.iter().map(|arg| arg.as_bytes().to_vec()).collect()).collect();
    for step in [input.len().max(1), 1, 2, 3, 7] {
        let found = decode_in_steps(input, step, limits);
        assert_eq!(found, (expected.clone(), error), "in pieces of {step}");
    }
}

#[track_caller]
fn check(input: &str, expected: &[&[&str]]) {
    check_with(Limits::default(), input.as_bytes(), expected, None);
}

#[track_caller]
fn check_error(input: &str, error: ProtocolError) {
    check_with(Limits::default(), input.as_bytes(), &[], Some(error));
}

#[test]
fn arrays_of_bulk_strings_are_requests() {
    check("*1\r\n$4\r\nPING\r\n", &[&["PING"]]);
    check("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", &[&["ECHO", ""], &["PING"]]);
    check("*2\r\n$3\r\nGET\r\n$13\r\nwith\r\nlinefee\r\n", &[&["GET", "with\r\nlinefee"]]);
}

#[test]
fn a_request_that_is_not_whole_is_waited_for() {
    check("*2\r\n$3\r\nGET\r\n$3\r\nab", &[]);
    check("*2", &[]);
    check("*2\r", &[]);
    check("PING", &[]);
}

#[test]
fn empty_requests_have_no_arguments() {
    check("*0\r\n*-1\r\n\r\n\n*1\r\n$4\r\nPING\r\n", &[&[], &[], &[], &[], &["PING"]]);
}

#[test]
fn inline_commands_are_split_as_redis_splits_them() {
    check("PING\r\n", &[&["PING"]]);
    check("  SET  a\tb \n", &[&["SET", "a", "b"]]);
    check("SET a \"x y\\n\\x41\\q\" 'it\\'s' ''\r\n", &[&["SET", "a", "x y\nAq", "it's", ""]]);
    check("a\"b\" c\r\n", &[&["ab", "c"]]);
    check_error("SET a \"x\r\n", ProtocolError::UnbalancedQuotes);
    check_error("SET \"a\"b\r\n", ProtocolError::UnbalancedQuotes);
}

#[test]
fn malformed_requests_are_refused_with_redis_texts() {
    check_error("*x\r\n", ProtocolError::InvalidArgumentCount);
    check_error("*99999999\r\n", ProtocolError::InvalidArgumentCount);
    check_error("*1\r\nPING\r\n", ProtocolError::ExpectedBulk(b'P'));
    check_error("*1\r\n$-1\r\n", ProtocolError::InvalidBulkLength);
    check_error("*1\r\n$x\r\n", ProtocolError::InvalidBulkLength);
    check_error("*1\r\n$536870913\r\n", ProtocolError::InvalidBulkLength);
    assert_eq!(ProtocolError::ExpectedBulk(b'P').to_string(), "Protocol error: expected '$', got 'P'");
}

#[test]
fn lines_without_an_end_are_refused() {
    let limits = Limits { line_bytes_max: 16, ..Limits::default() };
    check_with(limits, &[b'a'; 40], &[], Some(ProtocolError::InlineTooLong));
    check_with(limits, &[&b"*"[..], &[b'1'; 40]].concat(), &[], Some(ProtocolError::ArgumentCountTooLong));
    check_with(limits, &[&b"*1\r\n$"[..], &[b'1'; 40]].concat(), &[], Some(ProtocolError::BulkLengthTooLong));
}

#[test]
fn a_stranger_gets_small_limits() {
    let limits = Limits::UNAUTHENTICATED;
    check_with(limits, b"*11\r\n", &[], Some(ProtocolError::UnauthenticatedArgumentCount));
    check_with(limits, b"*1\r\n$16385\r\n", &[], Some(ProtocolError::UnauthenticatedBulkLength));
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut decoder = Decoder::new(Limits::default());
    let mut input = b"*1048576\r\n$536870912\r\nabc".to_vec();
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(decoder.spans.capacity() < 16);
    assert_eq!(decoder.missing_bytes(input.len()), 536_870_912 + 2 - 3);
}
