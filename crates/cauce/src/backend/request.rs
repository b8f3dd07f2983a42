//! Commands as they are sent.

use redis::{Cmd, Pipeline};

/// Commands that are sent together, in the bytes of the wire.
#[derive(Debug, Default)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    replies: usize,
}

impl Request {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), replies: 0 }
    }

    /// Begins a command of so many arguments, its name included; they follow.
    pub(crate) fn command(&mut self, arguments: usize) -> &mut Self {
        self.replies += 1;
        self.bytes.push(b'*');
        push_line(&mut self.bytes, arguments);
        self
    }

    /// The next argument.
    pub(crate) fn arg(&mut self, argument: impl AsRef<[u8]>) -> &mut Self {
        push_bulk(&mut self.bytes, argument.as_ref());
        self
    }

    /// The next argument, in digits.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.arg(itoa::Buffer::new().format(number))
    }

    /// Arguments that are in the bytes of the wire already.
    pub(crate) fn packed(&mut self, arguments: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(arguments);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many replies there will be.
    pub(crate) fn replies(&self) -> usize {
        self.replies
    }
}

impl From<&Cmd> for Request {
    fn from(command: &Cmd) -> Self {
        Self { bytes: command.get_packed_command(), replies: 1 }
    }
}

impl From<&Pipeline> for Request {
    fn from(commands: &Pipeline) -> Self {
        Self { bytes: commands.get_packed_pipeline(), replies: commands.len() }
    }
}

/// `$LENGTH\r\nTEXT\r\n`
pub(crate) fn push_bulk(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.reserve(text.len() + 16);
    bytes.push(b'$');
    push_line(bytes, text.len());
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(b"\r\n");
}

fn push_line(bytes: &mut Vec<u8>, number: usize) {
    // Nearly all arguments are short.
    match u8::try_from(number) {
        Ok(digit @ 0..10) => bytes.push(b'0' + digit),
        Ok(number @ 10..100) => bytes.extend_from_slice(&[b'0' + number / 10, b'0' + number % 10]),
        _ => bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn arguments_are_written_as_the_client_crate_writes_them() {
        let long = "x".repeat(1234);
        let texts = ["", "a", "0123456789", "é\r\n", &long];
        let mut own = Request::default();
        own.command(2 + texts.len()).arg("X");
        let mut theirs = cmd("X");
        for text in texts {
            own.arg(text);
            theirs.arg(text);
        }
        own.number(u64::MAX);
        theirs.arg(u64::MAX);
        assert_eq!(own.bytes, theirs.get_packed_command());
        own.command(1).packed(b"$1\r\nY\r\n");
        assert_eq!((own.replies(), own.bytes().ends_with(b"*1\r\n$1\r\nY\r\n")), (2, true));
    }
}
