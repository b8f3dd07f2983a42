//! What the rounds of a scenario say, as a line of a table or as JSON.

use serde::Serialize;

use super::load::Sample;
use super::scenarios::Measured;

/// The rounds of one scenario, in the order in which they ran.
#[derive(Debug)]
pub(super) struct Rounds {
    /// The scenario's name.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// Of the measured server.
    pub(super) a: Vec<Measured>,
    /// Of the server that it is compared with; empty if there is none.
    pub(super) b: Vec<Measured>,
}

/// Median, smallest and largest of some figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    /// The middle one (the mean of the two middle ones).
    pub(super) median: f64,
    /// The smallest.
    pub(super) min: f64,
    /// The largest.
    pub(super) max: f64,
}

impl Spread {
    /// Of at least one figure.
    fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Some(Self { median, min, max })
    }
}

/// One server's side of a scenario.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Side {
    /// Operations per second (latency: p99 in microseconds).
    pub(super) figure: Spread,
    /// Processor time of the server per operation, in microseconds.
    pub(super) server_us: Option<f64>,
    /// Processor time of the generator per operation, in microseconds.
    pub(super) generator_us: Option<f64>,
    /// Latency only: medians over the rounds of p50, p99 and the slowest, in microseconds.
    pub(super) delays_us: Option<[f64; 3]>,
}

/// What one scenario found.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The scenario's name.
    pub(super) scenario: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// The measured server.
    pub(super) a: Side,
    /// The server that it is compared with.
    pub(super) b: Option<Side>,
    /// A's figure through B's, round by round.
    pub(super) ratio: Option<Spread>,
}

impl Rounds {
    /// No rounds yet.
    pub(super) fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, a: Vec::new(), b: Vec::new() }
    }

    /// Sums up at least one round.
    pub(super) fn row(&self) -> Option<Row> {
        let ratios = self.a.iter().zip(&self.b).map(|(a, b)| a.figure() / b.figure()).collect();
        Some(Row {
            scenario: self.name,
            about: self.about,
            a: side(&self.a)?,
            b: side(&self.b),
            ratio: Spread::of(ratios),
        })
    }
}

fn side(rounds: &[Measured]) -> Option<Side> {
    let median = |figures: Vec<f64>| Spread::of(figures).map(|spread| spread.median);
    let samples: Vec<&Sample> = rounds.iter().filter_map(Measured::sample).collect();
    let per_operation = |spent: fn(&Sample) -> Option<std::time::Duration>| {
        let figures = samples
            .iter()
            .filter_map(|sample| Some(spent(sample)?.as_secs_f64() * 1e6 / sample.operations as f64));
        median(figures.collect())
    };
    let delays: Vec<_> = rounds.iter().filter_map(Measured::delays).collect();
    let delay = |pick: fn(&super::latency::Delays) -> u64| {
        median(delays.iter().map(|delays| pick(delays) as f64).collect())
    };
    Some(Side {
        figure: Spread::of(rounds.iter().map(Measured::figure).collect())?,
        server_us: per_operation(|sample| sample.server),
        generator_us: per_operation(|sample| sample.generator),
        delays_us: (|| Some([delay(|d| d.p50_us)?, delay(|d| d.p99_us)?, delay(|d| d.max_us)?]))(),
    })
}

/// The table's head.
pub(super) fn head(compared: bool) -> String {
    let mut line = format!("{:<20} {:>28} {:>8}", "scenario", "A", "CPU µs");
    if compared {
        line += &format!(" {:>28} {:>8}   {:<22}", "B", "CPU µs", "A/B median (min-max)");
    }
    line
}

/// One line of the table.
pub(super) fn line(row: &Row) -> String {
    let mut line = format!("{:<20} {}", row.scenario, cells(&row.a));
    if let Some(b) = &row.b {
        line += &format!(" {}", cells(b));
    }
    if let Some(ratio) = row.ratio {
        line += &format!("   {:.2} ({:.2}-{:.2})", ratio.median, ratio.min, ratio.max);
    }
    line
}

fn cells(side: &Side) -> String {
    let figure = match side.delays_us {
        Some([p50, p99, max]) => format!("p50 {p50:.0} p99 {p99:.0} max {max:.0} µs"),
        None => format!("{}/s", thousands(side.figure.median)),
    };
    let server = side.server_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.2}"));
    format!("{figure:>28} {server:>8}")
}

/// 1234567.8 as `1,234,568`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(figures: &[f64], expected: Option<(f64, f64, f64)>) {
        let expected = expected.map(|(median, min, max)| Spread { median, min, max });
        assert_eq!(Spread::of(figures.to_vec()), expected);
    }

    #[test]
    fn spreads() {
        check(&[3.0, 1.0, 2.0], Some((2.0, 1.0, 3.0)));
        check(&[4.0, 1.0], Some((2.5, 1.0, 4.0)));
        check(&[], None);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let grouped: Vec<_> = [0.4, 999.0, 1000.0, 1_234_567.8].into_iter().map(thousands).collect();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,568"]);
    }
}
