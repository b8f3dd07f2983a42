//! The run while it runs: bars on a terminal, plain lines everywhere else.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::books::{Books, DisplayBook};

/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows how far the run is.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    view: View,
}

#[derive(Debug)]
enum View {
    Bars { all: MultiProgress, bars: Vec<ProgressBar> },
    Lines { last: Instant },
}

/// One row of progress: whose, how much is done, of how much.
type Row = (String, u64, u64);

impl Progress {
    /// Bars if standard output is a terminal.
    pub(super) fn new() -> Self {
        let began = Instant::now();
        let view = if std::io::stdout().is_terminal() {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            View::Bars { all, bars: Vec::new() }
        } else {
            View::Lines { last: began }
        };
        Self { began, view }
    }

    /// Says something that happened, above the bars.
    pub(super) fn say(&self, text: &str) {
        let line = format!("{:>5.1} s  {text}", self.began.elapsed().as_secs_f64());
        match &self.view {
            // A terminal that takes no more lines must not end the run.
            View::Bars { all, .. } => drop(all.println(line)),
            View::Lines { .. } => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    /// Shows the books as they stand; `planned`: events that will be published.
    pub(super) fn show(&mut self, books: &Books, planned: u64) {
        let rows = rows(books, planned);
        match &mut self.view {
            View::Bars { all, bars } => {
                while bars.len() < rows.len() {
                    bars.push(all.add(ProgressBar::new(0).with_style(style())));
                }
                for (bar, (name, done, of)) in bars.iter().zip(rows) {
                    bar.set_message(name);
                    bar.set_length(of);
                    bar.set_position(done);
                }
            }
            View::Lines { last } if last.elapsed() >= LINE_INTERVAL => {
                *last = Instant::now();
                let rows: Vec<_> =
                    rows.iter().map(|(name, done, of)| format!("{name} {done}/{of}")).collect();
                self.say(&rows.join(", "));
            }
            View::Lines { .. } => {}
        }
    }

    /// Leaves the last state of the bars on the screen.
    pub(super) fn finish(&self) {
        if let View::Bars { bars, .. } = &self.view {
            for bar in bars {
                bar.abandon();
            }
        }
    }
}

fn rows(books: &Books, planned: u64) -> Vec<Row> {
    let mut rows = vec![("published".to_owned(), books.published(), planned)];
    rows.extend(books.groups().iter().map(|book| (book.group.name.to_owned(), book.settled(), book.due)));
    let displays = books.displays();
    let shown = displays.values().map(DisplayBook::accounted).sum();
    rows.push(("displays".to_owned(), shown, books.announced() * displays.len() as u64));
    rows
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:>12} {wide_bar:.cyan/blue} {pos:>8}/{len:8}")
        .expect("the template is a constant, and a test draws it")
        .progress_chars("━━╌")
}

#[cfg(test)]
mod tests {
    use super::super::books::Group;
    use super::super::events::Action;
    use super::super::ledger::Line;
    use super::*;

    #[test]
    fn every_part_of_the_run_has_its_row() {
        let group = Group { name: "delay", acts_on: &[Action::Departed] };
        let mut books = Books::new(&[group], "rebooking", &["display-1".to_owned(), "display-2".to_owned()]);
        for line in [
            "1\toperations\toperations-1\t1\tpublished\tflight.departed",
            "1\toperations\toperations-1\t1\tannounced\t",
            "1\tgates\tdisplay-1\t1\tseen\t20",
        ] {
            books.enter(&Line::decode(line).unwrap());
        }
        let expected = [("published", 1, 9), ("delay", 0, 1), ("displays", 1, 2)];
        assert_eq!(rows(&books, 9), expected.map(|(name, done, of)| (name.to_owned(), done, of)));
    }

    #[test]
    fn the_template_draws() {
        ProgressBar::hidden().set_style(style());
    }
}
