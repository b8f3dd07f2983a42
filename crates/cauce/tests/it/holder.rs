//! `file:DIRECTORY` from several processes: one holds the broker, and another takes over whenever it ends.
//!
//! The processes are this test binary, run again with the ignored test [`process`]. `CAUCE_TAKE_OVERS=60` for more rounds.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cauce::{Bus, Service, Start, State};
use tempfile::TempDir;

use crate::support::{Cancelled, until};

const ROLE: &str = "CAUCE_TEST_ROLE";
const URL: &str = "CAUCE_TEST_URL";
/// Each process publishes numbers of its own: from its index times this on.
const NUMBERS: u32 = 1_000_000;

/// Not a test: what the processes of the tests below run.
#[test]
#[ignore = "is run by the tests of this module, in processes of its own"]
fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let url = std::env::var(URL).unwrap();
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match role.as_str() {
        "blocker" => runtime.block_on(block(&url)),
        index => runtime.block_on(work(&url, index.parse().unwrap())),
    }
    println!("left");
}

fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// Publishes and handles, until it is told to be quiet and then to stop.
async fn work(url: &str, index: u32) {
    let (told, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().try_for_each(|line| told.send(line.unwrap())));
    let bus = Bus::connect(url).await.unwrap();
    let handler = async |event: Cancelled| println!("handled {} {}", event.passengers, micros());
    let service = Service::new("desk").start_at(Start::Beginning).reclaim_after(Duration::from_secs(1));
    let running = service.on(handler).start(&bus).await.unwrap();
    let next = AtomicU32::new(index * NUMBERS);
    let publish = async || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let begun = micros();
        match bus.publish(&Cancelled::numbered(number)).await {
            Ok(_) => println!("confirmed {number} {begun} {}", micros()),
            Err(error) => println!("unknown {number} {error}"),
        }
    };
    tokio::select! {
        _ = async { tokio::join!(publish(), publish(), publish(), publish()) } => {}
        order = orders.recv() => assert_eq!(order.as_deref(), Some("quiet")),
    }
    println!("quiet");
    assert_eq!(orders.recv().await.as_deref(), Some("stop"));
    running.stop().await;
}

/// Handles one event, which blocks the only thread of the runtime until a line comes.
async fn block(url: &str) {
    let bus = Bus::connect(url).await.unwrap();
    let (done, mut over) = tokio::sync::mpsc::unbounded_channel();
    let handler = async |_: Cancelled, State(done): State<tokio::sync::mpsc::UnboundedSender<()>>| {
        println!("blocked");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let _ = done.send(());
    };
    let service = Service::new("blocker").state(done).start_at(Start::Beginning).concurrency(1);
    let running = service.on(handler).start(&bus).await.unwrap();
    println!("up");
    over.recv().await;
    running.stop().await;
}

/// A process of the test; killed when dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Arc<Mutex<Vec<String>>>,
}

/// A publication, with the microseconds in which it began and was confirmed.
struct Confirmed {
    number: u32,
    begun: u64,
    ended: u64,
}

impl Process {
    fn start(directory: &Path, role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["holder::process", "--exact", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env(URL, format!("file:{}", directory.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (output, into) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            BufReader::new(output)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| into.lock().unwrap().push(line));
        });
        let input = child.stdin.take().unwrap();
        Self { child, input, lines }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn said(&self, what: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line == what)
    }

    /// What stands behind a word, line by line.
    fn after(&self, word: &str) -> Vec<Vec<u64>> {
        let lines = self.lines.lock().unwrap();
        let lines = lines.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        lines.map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect()).collect()
    }

    fn confirmed(&self) -> Vec<Confirmed> {
        let number = |number: u64| u32::try_from(number).unwrap();
        let lines = self.after("confirmed").into_iter();
        lines.map(|line| Confirmed { number: number(line[0]), begun: line[1], ended: line[2] }).collect()
    }

    fn handled(&self) -> BTreeSet<u32> {
        self.after("handled").iter().map(|line| u32::try_from(line[0]).unwrap()).collect()
    }

    /// When the first publication was confirmed that began after `moment`.
    fn confirmed_after(&self, moment: u64) -> Option<u64> {
        self.confirmed().into_iter().find(|it| it.begun > moment).map(|it| it.ended)
    }

    /// Whether the system shows it as stopped.
    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that use a directory, and what those said that have ended.
struct World {
    directory: TempDir,
    alive: Vec<Process>,
    dead: Vec<Process>,
}

impl World {
    fn new(processes: usize) -> Self {
        let directory = TempDir::new().unwrap();
        let mut world = Self { directory, alive: Vec::new(), dead: Vec::new() };
        (0..processes).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let index = self.alive.len() + self.dead.len();
        self.alive.push(Process::start(self.directory.path(), &index.to_string()));
    }

    /// Takes the process out that holds the broker.
    fn take_holder(&mut self) -> Process {
        let holder = std::fs::read_to_string(self.directory.path().join("LOCK")).unwrap();
        let holder: u32 = holder.trim().parse().unwrap();
        let index = self.alive.iter().position(|process| process.child.id() == holder);
        self.alive.swap_remove(index.unwrap_or_else(|| panic!("process {holder} is none of ours")))
    }

    /// Waits until every process publishes and handles anew.
    async fn flows(&self) {
        let now = micros();
        for process in &self.alive {
            let handled = process.handled().len();
            let flows = || process.confirmed_after(now).is_some() && process.handled().len() > handled + 50;
            until("events flow in every process", flows).await;
        }
    }

    /// How long it took since `moment` until every process had something confirmed that it began afterwards.
    async fn took(&self, moment: u64) -> Duration {
        let mut last = moment;
        for process in &self.alive {
            until("the others go on", || process.confirmed_after(moment).is_some()).await;
            last = last.max(process.confirmed_after(moment).unwrap());
        }
        Duration::from_micros(last - moment)
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        self.alive.iter().chain(&self.dead)
    }

    fn handled(&self) -> BTreeSet<u32> {
        self.all().flat_map(Process::handled).collect()
    }

    /// Ends everything in order, and compares what was confirmed, handled, and is there.
    async fn balance(mut self) {
        for process in &mut self.alive {
            process.tell("quiet");
            until("it is quiet", || process.said("quiet")).await;
        }
        let confirmed: BTreeSet<u32> =
            self.all().flat_map(Process::confirmed).map(|confirmed| confirmed.number).collect();
        until("all that was confirmed is handled", || confirmed.is_subset(&self.handled())).await;
        let handled = self.handled().len();
        for process in &mut self.alive {
            process.tell("stop");
            assert!(process.child.wait().unwrap().success());
        }
        let bus = Bus::connect(&format!("file:{}", self.directory.path().display())).await.unwrap();
        let entries = bus.stream("flights").range(.., usize::MAX / 2).await.unwrap();
        let kept = entries.iter().map(|entry| {
            let event = entry.fields.field("data").unwrap();
            serde_json::from_slice::<Cancelled>(event).unwrap().passengers
        });
        let kept: BTreeSet<u32> = kept.collect();
        assert!(
            confirmed.is_subset(&kept),
            "{} of {} are gone",
            confirmed.difference(&kept).count(),
            confirmed.len()
        );
        assert_eq!(entries.len(), kept.len(), "what was published again was appended once");
        println!(
            "{} publications confirmed, {} entries, {} events handled",
            confirmed.len(),
            entries.len(),
            handled
        );
    }
}

fn rounds() -> usize {
    std::env::var("CAUCE_TAKE_OVERS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(6)
}

#[tokio::test]
async fn another_takes_over_when_the_holder_ends() {
    let mut world = World::new(3);
    let mut times = Vec::new();
    for round in 0..rounds() {
        world.flows().await;
        let mut holder = world.take_holder();
        let kind = ["kill -9", "graceful exit", "SIGSTOP + SIGKILL"][round % 3];
        match round % 3 {
            0 => {}
            1 => {
                holder.tell("quiet");
                holder.tell("stop");
            }
            _ => {
                holder.signal("-STOP");
                until("it is stopped", || holder.is_stopped()).await;
            }
        }
        let moment = micros();
        if round % 3 != 1 {
            holder.signal("-KILL");
        }
        let took = world.took(moment).await;
        let code = holder.child.wait().unwrap().code();
        assert_eq!(code, if round % 3 == 1 { Some(0) } else { None }, "{kind}");
        println!("{kind}: the others went on after {took:?}");
        times.push(took);
        world.dead.push(holder);
        world.join();
    }
    world.flows().await;
    world.balance().await;
    times.sort_unstable();
    println!(
        "{} take-overs: median {:?}, longest {:?}",
        times.len(),
        times[times.len() / 2],
        times.last().unwrap()
    );
}

#[tokio::test]
async fn a_holder_that_is_stopped_is_waited_for() {
    let mut world = World::new(3);
    world.flows().await;
    let holder = world.take_holder();
    holder.signal("-STOP");
    until("it is stopped", || holder.is_stopped()).await;
    // What it had answered is on its way for a moment; what is asked for from now on waits.
    let stopped = micros();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let continued = micros();
    holder.signal("-CONT");
    world.alive.push(holder);
    world.took(stopped).await;
    for process in &world.alive {
        let early = process.confirmed().into_iter().find(|it| it.begun > stopped && it.ended < continued);
        assert!(early.is_none(), "{:?} was confirmed by nobody", early.map(|it| it.number));
    }
    world.flows().await;
    world.balance().await;
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_does_not_slow_the_others() {
    let directory = TempDir::new().unwrap();
    let mut blocker = Process::start(directory.path(), "blocker");
    until("it holds the broker", || blocker.said("up")).await;
    let mut others: Vec<Process> =
        (0..2).map(|index| Process::start(directory.path(), &index.to_string())).collect();
    until("its handler blocks", || blocker.said("blocked")).await;
    let blocked = micros();
    for process in &others {
        let beyond = || process.confirmed().iter().filter(|it| it.begun > blocked).count() > 100;
        until("the others publish", beyond).await;
        until("the others handle", || process.handled().len() > 100).await;
    }
    let holder = std::fs::read_to_string(directory.path().join("LOCK")).unwrap();
    assert_eq!(holder.trim(), blocker.child.id().to_string());
    for process in &mut others {
        process.tell("quiet");
        process.tell("stop");
        assert!(process.child.wait().unwrap().success());
    }
    blocker.tell("");
    until("it leaves", || blocker.said("left")).await;
}
