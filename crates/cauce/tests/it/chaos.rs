//! The test kit: virtual time, and chaos that finds what it should and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cauce::testing::{self, Chaos};
use cauce::{Delivery, Event, HandlerError, Headers, Retry, Service, State};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.placed", key = "order")]
struct Placed {
    order: u32,
    cents: u64,
}

fn orders(count: u32) -> Vec<Placed> {
    (0..count).map(|order| Placed { order, cents: 100 + u64::from(order) }).collect()
}

/// The bank: what was taken from whom, by order.
#[derive(Clone, Debug, Default)]
struct Bank {
    charges: Arc<Mutex<Vec<(u32, u64)>>>,
    /// Answers by idempotency key.
    known: Arc<Mutex<BTreeMap<String, ()>>>,
}

impl Bank {
    async fn charge(&self, order: u32, cents: u64) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.charges.lock().unwrap().push((order, cents));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn charge_once(&self, key: &str, order: u32, cents: u64) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.known.lock().unwrap().insert(key.to_owned(), ()).is_none() {
            self.charges.lock().unwrap().push((order, cents));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    fn assert_each_charged_once(&self, count: u32) {
        let mut charges: BTreeMap<u32, usize> = BTreeMap::new();
        for (order, _) in self.charges.lock().unwrap().iter() {
            *charges.entry(*order).or_default() += 1;
        }
        for order in 0..count {
            let times = charges.get(&order).copied().unwrap_or(0);
            assert!(times == 1, "order {order} was charged {times} times");
        }
    }
}

/// Charges again whenever it is called again.
async fn careless(event: Placed, State(bank): State<Bank>) {
    bank.charge(event.order, event.cents).await;
}

/// Gives the bank the event's id, which every delivery and every repeated publish of it shares.
async fn careful(event: Placed, headers: Headers, State(bank): State<Bank>) -> Result<(), HandlerError> {
    let id = headers.id().ok_or_else(|| HandlerError::reject("an order without an id"))?;
    bank.charge_once(id, event.order, event.cents).await;
    Ok(())
}

fn billing(bank: &Bank) -> Service<Bank> {
    Service::new("billing").state(bank.clone()).retry(Retry::fixed(Duration::from_secs(1)))
}

const ORDERS: u32 = 6;

fn run_careless(seeds: impl IntoIterator<Item = u64>) -> Result<(), testing::ChaosFailure> {
    Chaos::seeds(seeds).publish(orders(ORDERS)).try_run(
        Bank::default,
        |bank| billing(bank).on(careless),
        |bank| bank.assert_each_charged_once(ORDERS),
    )
}

/// How many seeds: many in `./test long`.
fn seeds(usual: u64) -> u64 {
    std::env::var("CAUCE_CHAOS").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

#[test]
fn a_double_charge_is_caught_within_200_seeds() {
    let failure = run_careless(0..200).unwrap_err();
    assert!(
        failure.problem.contains("was charged 2 times") || failure.problem.contains("was charged 3 times"),
        "{failure}"
    );
    let told = failure.to_string();
    assert!(told.contains(&format!("chaos with seed {}", failure.seed)), "{told}");
    assert!(told.contains("the handler of") && told.contains("is published"), "{told}");
}

#[test]
fn a_failing_seed_replays_identically() {
    let first = run_careless(0..200).unwrap_err();
    for _ in 0..5 {
        assert_eq!(run_careless([first.seed]).unwrap_err(), first);
    }
}

/// Another process has other addresses, hash seeds and times; the story is the same.
#[test]
fn a_story_is_the_same_in_another_process() {
    let tell = |seed| {
        Chaos::seed(seed).publish(orders(ORDERS)).story(
            Bank::default,
            |bank| billing(bank).on(careful),
            |bank| bank.assert_each_charged_once(ORDERS),
        )
    };
    let stories: Vec<String> = (0..20).flat_map(tell).collect();
    if let Some(file) = std::env::var_os("CAUCE_CHAOS_STORY") {
        std::fs::write(file, stories.join("\n")).unwrap();
        return;
    }
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("story");
    let told = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "chaos::a_story_is_the_same_in_another_process"])
        .env("CAUCE_CHAOS_STORY", &file)
        .stdout(std::process::Stdio::null())
        .status();
    assert!(told.unwrap().success());
    let other = std::fs::read_to_string(file).unwrap();
    let other: Vec<&str> = other.lines().collect();
    assert_eq!(stories.len(), other.len());
    for (line, other) in stories.iter().zip(other) {
        assert_eq!(line, other);
    }
}

#[test]
fn a_careful_handler_survives_chaos() {
    Chaos::seeds(0..seeds(300)).publish(orders(ORDERS)).run(
        Bank::default,
        |bank| billing(bank).on(careful),
        |bank| bank.assert_each_charged_once(ORDERS),
    );
}

/// A step of a patient's treatment, in the stream's order or that of its partition.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(stream = "steps", action = "step.due", key = "patient")]
struct Step {
    patient: u32,
    step: u32,
}

#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(stream = "wards", action = "step.due", key = "patient", partitions = 2)]
struct WardStep {
    patient: u32,
    step: u32,
}

const PATIENTS: u32 = 3;
const STEPS: u32 = 8;

/// What was done, in order.
#[derive(Clone, Debug, Default)]
struct Treatment(Arc<Mutex<Vec<(u32, u32)>>>);

impl Treatment {
    /// Every other step fails at first.
    async fn take(&self, patient: u32, step: u32, attempt: u32) -> Result<(), HandlerError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if step % 2 == 1 && attempt == 1 {
            return Err(HandlerError::failed("not yet"));
        }
        self.0.lock().unwrap().push((patient, step));
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    fn assert_each_in_order(&self) {
        let done = self.0.lock().unwrap();
        for patient in 0..PATIENTS {
            let steps: Vec<u32> =
                done.iter().filter(|(whose, _)| *whose == patient).map(|(_, step)| *step).collect();
            let mut next = 0;
            for step in &steps {
                assert!(*step <= next, "patient {patient} had step {step} before {next}: {steps:?}");
                next = next.max(step + 1);
            }
            assert_eq!(next, STEPS, "patient {patient}: {steps:?}");
        }
    }
}

fn ward(treatment: &Treatment) -> Service<Treatment> {
    let retry = Retry::fixed(Duration::from_millis(1));
    Service::new("ward").state(treatment.clone()).retry(retry).reclaim_after(Duration::from_secs(3))
}

/// In the order of the steps, every patient's.
fn visits() -> impl Iterator<Item = (u32, u32)> {
    (0..STEPS).flat_map(|step| (0..PATIENTS).map(move |patient| (patient, step)))
}

#[test]
fn order_survives_chaos() {
    async fn treat(
        event: Step,
        delivery: Delivery,
        State(treatment): State<Treatment>,
    ) -> Result<(), HandlerError> {
        treatment.take(event.patient, event.step, delivery.attempt).await
    }
    Chaos::seeds(0..seeds(1_000) / 10).publish(visits().map(|(patient, step)| Step { patient, step })).run(
        Treatment::default,
        |treatment| ward(treatment).on(treat).ordered_by_key(100),
        Treatment::assert_each_in_order,
    );
}

#[test]
fn order_of_partitions_survives_chaos() {
    async fn treat(
        event: WardStep,
        delivery: Delivery,
        State(treatment): State<Treatment>,
    ) -> Result<(), HandlerError> {
        treatment.take(event.patient, event.step, delivery.attempt).await
    }
    Chaos::seeds(0..seeds(1_000) / 10)
        .publish(visits().map(|(patient, step)| WardStep { patient, step }))
        .run(Treatment::default, |treatment| ward(treatment).on(treat), Treatment::assert_each_in_order);
}

/// Every kind of fault happens, or nothing is proved by surviving them.
#[test]
fn every_fault_happens() {
    let story = Chaos::seeds(0..60).publish(orders(ORDERS)).story(
        Bank::default,
        |bank| billing(bank).on(careful),
        |bank| bank.assert_each_charged_once(ORDERS),
    );
    for fault in [
        "dies before",
        "dies in the middle of",
        "dies after, and before the acknowledgement of",
        "the next reply will be lost",
        "the next request will be lost",
        "the broker is restarted",
        "the broker has died in place of a reply",
        "stopped for a deploy",
        "is published again",
        "attempt 2",
    ] {
        assert!(story.iter().any(|line| line.contains(fault)), "{fault}");
    }
    let lost = |line: &&String| {
        line.contains("nothing more goes wrong") && !line.contains("; 0 replies and 0 requests")
    };
    assert!(story.iter().filter(lost).count() > 10, "replies and requests were lost");
}

/// A service that can never finish is told apart from one that is slow.
#[test]
fn what_is_never_settled_fails() {
    let stuck = |bank: &Bank| {
        let handler = async |_: Placed| std::future::pending::<()>().await;
        billing(bank).on(handler).shutdown_deadline(Duration::from_secs(1))
    };
    let failure = Chaos::seed(1).publish(orders(2)).limit(Duration::from_secs(120)).try_run(
        Bank::default,
        stuck,
        |_| {},
    );
    let failure = failure.unwrap_err();
    assert!(failure.problem.contains("unacknowledged entries of orders in billing"), "{}", failure.problem);
    let rejects = |bank: &Bank| billing(bank).on(async |_: Placed| Err::<(), _>(HandlerError::reject("no")));
    let chaos = || Chaos::seed(1).publish(orders(2));
    let failure = chaos().try_run(Bank::default, rejects, |_| {}).unwrap_err();
    assert!(failure.problem.contains("is a dead letter: rejected no"), "{}", failure.problem);
    chaos().allow_dead_letters().run(Bank::default, rejects, |_| {});
}

#[test]
fn hours_pass_in_no_time() {
    async fn fails_twice(_: Placed, delivery: Delivery) -> Result<(), HandlerError> {
        if delivery.attempt < 3 { Err(HandlerError::failed("closed")) } else { Ok(()) }
    }
    let began = std::time::Instant::now();
    testing::run(async |kit| {
        let retry = Retry::fixed(Duration::from_secs(3600)).max_attempts(3);
        let running = Service::new("desk").on(fails_twice).retry(retry).start(kit.bus()).await.unwrap();
        kit.bus().publish_all(&orders(3)).await.unwrap();
        kit.settled().await;
        let report = running.report();
        assert_eq!((report.handled, report.failed, report.retried, report.dead), (3, 6, 6, 0), "{report}");
        assert!(kit.elapsed() >= Duration::from_secs(2 * 3600), "{:?}", kit.elapsed());
        assert_eq!(kit.published::<Placed>().await, orders(3));
        assert!(kit.dead_letters("orders").await.is_empty());
        running.stop().await;
    });
    assert!(began.elapsed() < Duration::from_secs(1800), "{:?}", began.elapsed());
}

/// Events of a partitioned stream were published to the stream of its name, which nobody reads, and not found again.
#[test]
fn the_kit_knows_partitions() {
    testing::run(async |kit| {
        let done = Treatment::default();
        let fails = async |event: WardStep, State(done): State<Treatment>| {
            if event.step == 1 {
                return Err(HandlerError::reject("no"));
            }
            done.take(event.patient, event.step, 2).await
        };
        let running = Service::new("ward").state(done.clone()).on(fails).start(kit.bus()).await.unwrap();
        let steps: Vec<WardStep> = visits().map(|(patient, step)| WardStep { patient, step }).collect();
        for step in &steps {
            kit.bus().publish(step).await.unwrap();
        }
        kit.settled().await;
        assert_eq!(done.0.lock().unwrap().len(), steps.len() - PATIENTS as usize);
        assert_eq!(kit.published::<WardStep>().await.len(), steps.len());
        assert_eq!(kit.dead_letters("wards").await.len(), PATIENTS as usize);
        running.stop().await;
    });
}

#[test]
fn two_runs_of_a_test_are_equal() {
    let run = |seed| {
        testing::run_with_seed(seed, async |kit| {
            let running = Service::new("desk").on(async |_: Placed| {}).start(kit.bus()).await.unwrap();
            kit.bus().publish_all(&orders(5)).await.unwrap();
            kit.settled().await;
            let entries = kit.bus().inspect().entries("orders", cauce::EntryId::ZERO, 10).await.unwrap();
            format!("{} {entries:?} {:?}", running.consumer(), kit.elapsed())
        })
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
