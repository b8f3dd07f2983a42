//! Partitioned streams: which of its streams an event goes to, and how many there are.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use redis::{Pipeline, cmd};

use crate::backend::command::{companion, tagged};
use crate::backend::link::Link;
use crate::backend::reply;
use crate::error::{CommandError, PartitionsError};

/// The partition of a key: the CRC-32 of its bytes (that of zlib, which every language's library has), modulo the number of partitions. It never
/// changes, so that other programs can publish as `Bus::publish` does.
#[must_use]
pub fn partition_of(key: &str, partitions: u16) -> u16 {
    let hash = crc32fast::hash(key.as_bytes()) % u32::from(partitions.max(1));
    // Less than the number of partitions.
    u16::try_from(hash).unwrap_or_default()
}

/// The key of partition n of the stream `s`: `{s}#n`. All partitions are in one slot of a cluster, so that an instance reads its own by one command over
/// one connection, as it does elsewhere. A stream with a hash tag of its own keeps that, and so does `s#n`.
#[must_use]
pub fn partition_stream(stream: &str, partition: u16) -> String {
    format!("{}#{partition}", tagged(stream))
}

/// Where the number of partitions is kept.
fn number_key(stream: &str) -> String {
    companion(stream, "partitions")
}

/// The streams whose number of partitions was compared with the broker's.
#[derive(Debug, Default)]
pub(crate) struct Agreed(RwLock<HashMap<String, u16>>);

impl Agreed {
    /// Compares, once.
    ///
    /// # Errors
    /// If the broker has another number, or can't be asked.
    pub(crate) async fn on(
        &self,
        link: &Link,
        stream: &str,
        here: u16,
    ) -> Result<Result<(), PartitionsError>, CommandError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(stream) == Some(&here);
        if !known {
            if let Err(mismatch) = agree(link, stream, here).await? {
                return Ok(Err(mismatch));
            }
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(stream.to_owned(), here);
        }
        Ok(Ok(()))
    }
}

/// Fixes the number of partitions, unless it is; then it must be the same.
///
/// # Errors
/// If the broker can't be asked.
pub(crate) async fn agree(
    link: &Link,
    stream: &str,
    here: u16,
) -> Result<Result<(), PartitionsError>, CommandError> {
    let key = number_key(stream);
    let mut questions = Pipeline::new();
    if here > 0 {
        questions.cmd("SET").arg(&key).arg(here).arg("NX");
    }
    questions.cmd("GET").arg(&key);
    let reply = link.send_all(&questions).await?.pop().transpose()?;
    let there = reply.and_then(reply::text).and_then(|number| number.parse().ok()).unwrap_or(0);
    Ok(if there == here { Ok(()) } else { Err(PartitionsError { stream: stream.to_owned(), here, there }) })
}

/// The partitions of a stream with their numbers, in order; itself, if it is not partitioned.
///
/// # Errors
/// If the broker can't be asked.
pub(crate) async fn streams(link: &Link, stream: &str) -> Result<Vec<(Option<u16>, String)>, CommandError> {
    let reply = link.send(cmd("GET").arg(number_key(stream))).await?;
    Ok(match reply::text(reply).and_then(|number| number.parse().ok()).unwrap_or(0) {
        0 => vec![(None, stream.to_owned())],
        some => (0..some).map(|number| (Some(number), partition_stream(stream, number))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_never_changes() {
        // By zlib: python3 -c 'import zlib; print(zlib.crc32(b"UA 1"))'
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        for (key, partitions) in [("", 1), ("UA 1", 8), ("UA 2", 1024)] {
            assert!(partition_of(key, partitions) < partitions);
        }
        assert_eq!(partition_of("123456789", 1000), (0xcbf4_3926_u32 % 1000) as u16);
    }

    #[test]
    fn keys_are_spread() {
        let mut counts = [0; 8];
        for key in 0..8_000 {
            counts[usize::from(partition_of(&format!("UA {key}"), 8))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn partitions_share_the_slot_of_their_stream() {
        assert_eq!(partition_stream("orders", 3), "{orders}#3");
        assert_eq!(companion("{orders}#3", "dead"), "{orders}#3:dead");
        assert_eq!(number_key("orders"), "{orders}:partitions");
        assert_eq!(partition_stream("{eu}:orders", 3), "{eu}:orders#3");
    }
}
