//! Services in other languages that add entries, and that handle and acknowledge them by hand.

use crate::both::Seen;
use crate::process::Process;
use crate::server::Server;

/// The stream that all of them use.
pub(crate) const STREAM: &str = "streamsKey";

/// What a service is written in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Language {
    /// Producer on redis 3, consumer on redis 2.8.
    Node,
    /// redis-py.
    Python,
}

impl Language {
    pub(crate) const ALL: [Language; 2] = [Language::Node, Language::Python];

    /// Adds entries numbered from `first` and returns how many the server took.
    pub(crate) fn produce(self, server: &Server, first: u32, count: u32) -> usize {
        let arguments = [u32::from(server.port()), first, count].map(|number| number.to_string());
        let lines = self.start("producer", &arguments.each_ref().map(String::as_str)).finish();
        lines.iter().filter(|line| line.starts_with("added ")).count()
    }

    /// Starts an instance that handles and acknowledges until it is told to stop, and takes over entries that another
    /// consumer has held for `abandoned_ms`. Returns when the group exists.
    pub(crate) fn consume(self, server: &Server, group: &str, consumer: &str, abandoned_ms: u32) -> Process {
        self.start_consumer(server, &[group, consumer, &abandoned_ms.to_string()])
    }

    /// Starts an instance that hangs with the first entries that it reads.
    pub(crate) fn consume_and_hang(self, server: &Server, group: &str, consumer: &str) -> Process {
        self.start_consumer(server, &[group, consumer, "60000", "stall"])
    }

    fn start_consumer(self, server: &Server, arguments: &[&str]) -> Process {
        let port = server.port().to_string();
        let mut process = self.start("acknowledging", &[&[&*port], arguments].concat());
        process.line_with("ready");
        process
    }

    fn start(self, program: &str, arguments: &[&str]) -> Process {
        match self {
            Language::Node => Process::node(&format!("seed/{program}.js"), arguments),
            Language::Python => Process::python(&format!("{program}.py"), arguments),
        }
    }
}

/// What a stopped instance did.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) handled: Vec<u32>,
    pub(crate) taken_over: Vec<u32>,
}

impl Work {
    /// Tells the instance to stop and reads what it did.
    pub(crate) fn of(instance: Process) -> Work {
        let lines = instance.finish();
        Work { handled: numbers(&lines, "handled "), taken_over: numbers(&lines, "took over ") }
    }
}

/// The numbers after a prefix, in the order of the lines.
pub(crate) fn numbers(lines: &Seen, prefix: &str) -> Vec<u32> {
    let rest = lines.iter().filter_map(|line| line.strip_prefix(prefix));
    rest.map(|text| text.trim().parse().expect("a number")).collect()
}

/// Fails unless every entry that the group was given is acknowledged.
pub(crate) fn assert_nothing_pending(server: &Server, group: &str) {
    let port = server.port().to_string();
    let lines = Process::start("redis-cli", &["-p", &port, "XPENDING", STREAM, group]).finish();
    assert_eq!(lines[0], "0", "entries of {group} are pending: {lines:#?}");
}
