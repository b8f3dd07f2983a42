//! What the parts tell the conductor on their standard output, a line each.

use std::io::Write;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// It is at work: a display is subscribed, a service reads.
    Ready,
    /// The operations desk has so many events to publish.
    Planned(u64),
    /// The victim has begun to work on this event, and will not end before it is killed.
    Holding(u64),
    /// Something worth a line on the terminal.
    Note(String),
    /// Its output has ended: it is gone. Never written.
    Gone,
}

impl Signal {
    /// Writes it to standard output.
    pub(super) fn send(&self) -> std::io::Result<()> {
        let line = match self {
            Self::Ready => "ready".to_owned(),
            Self::Planned(events) => format!("planned {events}"),
            Self::Holding(event) => format!("holding {event}"),
            Self::Note(text) => format!("note {text}"),
            Self::Gone => return Ok(()),
        };
        let mut output = std::io::stdout().lock();
        writeln!(output, "{line}")?;
        output.flush()
    }

    /// Reads a line; `None` if it is none of these.
    pub(super) fn decode(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "ready" => Self::Ready,
            "planned" => Self::Planned(rest.parse().ok()?),
            "holding" => Self::Holding(rest.parse().ok()?),
            "note" => Self::Note(rest.to_owned()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let check = |line: &str, expected| assert_eq!(Signal::decode(line), expected, "{line}");
        check("ready", Some(Signal::Ready));
        check("planned 2317", Some(Signal::Planned(2317)));
        check("holding 12", Some(Signal::Holding(12)));
        check("note all is well", Some(Signal::Note("all is well".into())));
        check("planned many", None);
        check("gone", None);
    }
}
