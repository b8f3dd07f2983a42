//! Dead letters as a workflow.

use std::time::Duration;

use cauce::{
    Bus, DeadLetter, EntryId, Fields, HandlerError, LetterAlarm, LetterFilter, LetterLimits, Redriven, Retry,
    Running, Service, State,
};

use crate::support::{Cancelled, Seen, Server, connect, on_every_target, until};

on_every_target!(
    a_letter_remembers_every_attempt,
    letters_are_grouped_by_cause,
    a_filter_redrives_at_a_rate,
    an_edited_letter_goes_back_as_a_copy,
    a_letter_goes_back_once,
    alarms_are_by_count_and_age,
    an_entry_of_thousands_of_fields_is_buried_too,
);

async fn letters(bus: &Bus) -> Vec<DeadLetter> {
    bus.inspect().dead_letters("flights", EntryId::ZERO, 1_000).await.unwrap()
}

/// A service that rejects what is marked so, until it is told to be kind.
async fn rejecting(bus: &Bus, count: u32, mercy: &Seen<()>) -> Running {
    let handler = async |event: Cancelled, State(mercy): State<Seen<()>>| {
        if mercy.len() > 0 {
            return Ok(());
        }
        match event.passengers % 2 {
            0 => Err(HandlerError::reject(format!("seat {} is taken", event.passengers))),
            _ => Err(HandlerError::reject("no such airline")),
        }
    };
    let running = Service::new("desk").state(mercy.clone()).on(handler).start(bus).await.unwrap();
    bus.publish_all(&Cancelled::series(count)).await.unwrap();
    until("all are dead", || running.report().dead == u64::from(count)).await;
    running
}

async fn a_letter_remembers_every_attempt(url: &str) {
    #[derive(Debug, thiserror::Error)]
    #[error("booking failed")]
    struct Booking(#[source] std::num::ParseIntError);
    async fn fails(_: Cancelled) -> Result<(), HandlerError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        "x".parse::<u32>().map_err(Booking)?;
        Ok(())
    }
    let bus = connect(url).await;
    let retry = Retry::schedule(vec![Duration::from_millis(50), Duration::from_millis(10)]);
    let running = Service::new("desk").on(fails).retry(retry).start(&bus).await.unwrap();
    let id = bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    let [letter] = letters(&bus).await.try_into().unwrap();
    assert_eq!(letter.chain, ["booking failed", "invalid digit found in string"]);
    assert_eq!((letter.entry, letter.attempts, letter.history.len()), (id, 3, 3));
    let mut before = id.ms;
    for (number, attempt) in (1..).zip(&letter.history) {
        assert_eq!((attempt.attempt, attempt.instance.as_str()), (number, running.consumer()));
        assert_eq!((attempt.reason.as_str(), attempt.lost), ("failed", false));
        assert_eq!(attempt.error, "booking failed: invalid digit found in string");
        assert!(attempt.start + 20 <= attempt.end && attempt.start + 1 >= before, "{:?}", letter.history);
        before = attempt.end;
    }
    assert!(letter.history[1].start >= letter.history[0].end + 50, "{:?}", letter.history);
    running.stop().await;
}

async fn letters_are_grouped_by_cause(url: &str) {
    let bus = connect(url).await;
    let running = rejecting(&bus, 25, &Seen::new()).await;
    let groups = bus.inspect().dead_letter_groups("flights").await.unwrap();
    let counts: Vec<_> = groups.iter().map(|group| (group.fingerprint.as_str(), group.count)).collect();
    assert_eq!(
        counts,
        [
            ("desk flight.cancelled rejected: seat # is taken", 13),
            ("desk flight.cancelled rejected: no such airline", 12)
        ]
    );
    assert!(groups[0].last.error.starts_with("seat "), "{:?}", groups[0]);
    running.stop().await;
}

async fn a_filter_redrives_at_a_rate(url: &str) {
    let bus = connect(url).await;
    let mercy = Seen::new();
    let running = rejecting(&bus, 20, &mercy).await;
    mercy.push(());
    let begin = tokio::time::Instant::now();
    let filter = LetterFilter::all().group("desk").error("airline");
    let report = bus.inspect().redrive_all("flights", &filter, Some(50)).await.unwrap();
    assert_eq!((report.same_entry, report.copies, report.gone), (10, 0, 0));
    assert!(begin.elapsed() >= Duration::from_millis(170), "{:?}", begin.elapsed());
    until("they are handled", || running.report().handled == 10).await;
    let left = letters(&bus).await;
    assert!(left.len() == 10 && left.iter().all(|letter| letter.error.starts_with("seat")), "{left:?}");
    let none = bus.inspect().redrive_all("flights", &LetterFilter::all().group("other"), None).await.unwrap();
    assert_eq!(none, cauce::RedriveReport::default());
    running.stop().await;
}

async fn an_edited_letter_goes_back_as_a_copy(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<String>>| seen.push(event.flight);
    let running = Service::new("desk").state(seen.clone()).on(handler).start(&bus).await.unwrap();
    let mut broken = Fields::new();
    broken.push_text("action", "flight.cancelled");
    broken.push(&b"data"[..], &b"{\"flight\":\xff"[..]);
    bus.stream("flights").append(&broken).await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    let [letter] = letters(&bus).await.try_into().unwrap();
    assert_eq!(
        (letter.reason.as_str(), letter.fields == broken),
        ("undecodable", true),
        "raw bytes are kept"
    );
    let mut mended = Fields::new();
    mended.push_text("action", "flight.cancelled");
    mended.push_text("data", r#"{"flight":"UA 7","passengers":1}"#);
    let edited = bus.inspect().edit_dead_letter(&letter, mended.clone()).await.unwrap().unwrap();
    assert_eq!((edited.entry, edited.edited, &edited.history), (letter.entry, true, &letter.history));
    assert_eq!(bus.inspect().edit_dead_letter(&letter, mended).await.unwrap(), None);
    assert!(matches!(bus.inspect().redrive(&edited).await.unwrap(), Redriven::Copy(_)));
    until("it is handled", || seen.all() == ["UA 7"]).await;
    assert!(letters(&bus).await.is_empty());
    running.stop().await;
}

async fn a_letter_goes_back_once(url: &str) {
    let bus = connect(url).await;
    let mercy = Seen::new();
    let running = rejecting(&bus, 1, &mercy).await;
    mercy.push(());
    let [letter] = letters(&bus).await.try_into().unwrap();
    assert_eq!(bus.inspect().dead_letter("flights", letter.id).await.unwrap().as_ref(), Some(&letter));
    let (one, other) = (bus.inspect(), bus.inspect());
    let (one, other) = tokio::join!(one.redrive(&letter), other.redrive(&letter));
    let mut ends = [one.unwrap(), other.unwrap()];
    ends.sort_by_key(|end| *end == Redriven::Gone);
    assert_eq!(ends, [Redriven::SameEntry, Redriven::Gone]);
    until("it is handled", || running.report().handled == 1).await;
    assert_eq!(bus.inspect().dead_letter("flights", letter.id).await.unwrap(), None);
    assert_eq!(running.stop().await.handled, 1);
}

/// A script can't unpack as many values as an entry may have.
async fn an_entry_of_thousands_of_fields_is_buried_too(url: &str) {
    let bus = connect(url).await;
    let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    let mut wide = Fields::new();
    wide.push_text("action", "flight.cancelled");
    for number in 0..5_000_u32 {
        wide.push(format!("field {number}"), number.to_be_bytes());
    }
    bus.stream("flights").append(&wide).await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    let [letter] = letters(&bus).await.try_into().unwrap();
    assert!(letter.reason == "undecodable" && letter.fields == wide);
    assert_eq!(bus.inspect().redrive(&letter).await.unwrap(), Redriven::SameEntry);
    until("it is dead again", || running.report().dead == 2).await;
    running.stop().await;
}

async fn alarms_are_by_count_and_age(url: &str) {
    let bus = connect(url).await;
    let inspect = bus.inspect();
    let limits = LetterLimits { count: Some(2), age: Some(Duration::from_millis(30)) };
    assert!(inspect.dead_letter_alarms("flights", limits).await.unwrap().is_empty());
    let running = rejecting(&bus, 3, &Seen::new()).await;
    let oldest = letters(&bus).await[0].id;
    crate::support::until_async("both limits are passed", async || {
        let alarms = inspect.dead_letter_alarms("flights", limits).await.unwrap();
        matches!(&alarms[..], [LetterAlarm::Count { count: 3, .. }, LetterAlarm::Age { oldest: found, .. }] if *found == oldest)
    })
    .await;
    let none = LetterLimits { count: Some(3), age: Some(Duration::from_secs(60)) };
    assert!(inspect.dead_letter_alarms("flights", none).await.unwrap().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_letter_of_a_group_that_is_gone_stays() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let running = rejecting(&bus, 1, &Seen::new()).await;
    running.stop().await;
    server.cli(&["XGROUP", "DESTROY", "flights", "desk"]);
    let [letter] = letters(&bus).await.try_into().unwrap();
    let error = bus.inspect().redrive(&letter).await.unwrap_err().to_string();
    assert!(error.contains("NOGROUP"), "{error}");
    assert_eq!(letters(&bus).await.len(), 1);
    assert!(letter.to_json().contains("\"reason\":\"rejected\""));
}
