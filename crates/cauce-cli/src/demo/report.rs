//! The books as a reader of the terminal sees them.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::books::{Books, GroupBook};
use super::events::Action;

/// What the books can't know.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// From the first event to the last settled one.
    pub(super) elapsed: Duration,
    /// The instances that were killed.
    pub(super) killed: &'a [&'a str],
}

/// The books in plain text, a line each.
pub(super) fn lines(books: &Books, run: &Run<'_>) -> Vec<String> {
    let mut lines = vec![day(books), String::new(), totals(books, run), String::new()];
    lines.push(format!(
        "  {:<12} {:>8} {:>8} {:>6} {:>8} {:>8} {:>11}   {}",
        "group", "due", "handled", "dead", "retries", "claimed", "duplicates", "latency p50 / p99 / max"
    ));
    for book in books.groups() {
        lines.push(group(book));
        lines.push(format!("    {}", instances(book, run.killed)));
    }
    lines.push(String::new());
    lines.push(format!(
        "  {:<12} {:>8} {:>8} {:>12}   {}",
        "display", "sent", "seen", "told missed", "latency p50 / p99 / max"
    ));
    for (name, book) in books.displays() {
        lines.push(format!(
            "  {name:<12} {:>8} {:>8} {:>12}   {}",
            books.announced(),
            book.seen(),
            book.missed,
            latency(&book.latency_us)
        ));
    }
    let letters: Vec<_> = books.groups().iter().flat_map(dead_letters).collect();
    if !letters.is_empty() {
        lines.push(String::new());
        lines.push("  dead letters".to_owned());
        lines.extend(letters);
    }
    lines
}

fn day(books: &Books) -> String {
    let counts: Vec<_> = Action::ALL
        .into_iter()
        .map(|action| format!("{} {}", books.published_as(action), action.name()))
        .collect();
    format!("Published: {}.", counts.join(", "))
}

fn totals(books: &Books, run: &Run<'_>) -> String {
    let handled: u64 = books.groups().iter().map(GroupBook::handled).sum();
    let seconds = run.elapsed.as_secs_f64().max(0.001);
    format!(
        "The books, as the services kept them: {} events in {seconds:.1} s ({:.0}/s published, {:.0}/s handled)",
        books.published(),
        books.published() as f64 / seconds,
        handled as f64 / seconds
    )
}

fn group(book: &GroupBook) -> String {
    format!(
        "  {:<12} {:>8} {:>8} {:>6} {:>8} {:>8} {:>11}   {}",
        book.group.name,
        book.due,
        book.handled(),
        book.dead.len(),
        book.retries,
        book.claims(),
        book.duplicates,
        latency(&book.latency_us)
    )
}

fn instances(book: &GroupBook, killed: &[&str]) -> String {
    let shares: Vec<_> = book
        .by_instance
        .iter()
        .map(|(name, handled)| {
            format!("{name} {handled}{}", if killed.contains(&name.as_str()) { " (killed)" } else { "" })
        })
        .collect();
    shares.join(" · ")
}

fn dead_letters(book: &GroupBook) -> impl Iterator<Item = String> {
    book.dead.iter().map(|(event, reason)| format!("    event {event} of {}: {reason}", book.group.name))
}

fn latency(histogram: &Histogram<u64>) -> String {
    let [p50, p99] = [0.5, 0.99].map(|quantile| histogram.value_at_quantile(quantile));
    format!("{} / {} / {}", time(p50), time(p99), time(histogram.max()))
}

/// A delay in microseconds, in the unit that reads best.
fn time(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..1_000_000 => format!("{:.1} ms", microseconds as f64 / 1e3),
        _ => format!("{:.2} s", microseconds as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::books::Group;
    use super::super::ledger::Line;
    use super::*;

    #[test]
    fn the_report_names_every_group_display_and_dead_letter() {
        let group = Group { name: "delay", acts_on: &[Action::Departed] };
        let mut books = Books::new(&[group], "rebooking", &["display-1".to_owned()]);
        for line in [
            "1\toperations\toperations-1\t1\tpublished\tflight.departed",
            "2\toperations\toperations-1\t1\tpublished\tflight.departed",
            "1\toperations\toperations-1\t1\tannounced\t",
            "1\tdelay\tdelay-2\t1\thandled\t1500",
            "2\tdelay\tdead-letters-1\t1\tdead-lettered\tunreadable",
            "1\tgates\tdisplay-1\t1\tseen\t20",
        ] {
            books.enter(&Line::decode(line).unwrap());
        }
        let run = Run { elapsed: Duration::from_secs(2), killed: &["delay-2"] };
        let text = lines(&books, &run).join("\n");
        for expected in [
            "0 flight.scheduled, 2 flight.departed",
            "2 events in 2.0 s (1/s published, 0/s handled)",
            "delay               2        1      1        0        0           0   1.5 ms / 1.5 ms / 1.5 ms",
            "delay-2 1 (killed)",
            "display-1           1        1            0   20 µs / 20 µs / 20 µs",
            "event 2 of delay: unreadable",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn delays_read_in_their_unit() {
        let read: Vec<_> = [0, 999, 1_000, 12_345, 2_500_000].into_iter().map(time).collect();
        assert_eq!(read, ["0 µs", "999 µs", "1.0 ms", "12.3 ms", "2.50 s"]);
    }
}
