//! What the clients were promised and shown, and how it is compared with what a broker holds.

use std::collections::{BTreeMap, BTreeSet};

use cauce_testkit::wire::Value;

use super::client::{Client, Gone};

pub(super) const STREAMS: [&str; 3] = ["s0", "s1", "s2"];
pub(super) const GROUPS: [&str; 2] = ["g0", "g1"];
/// Entries of this stream are deleted now and then.
pub(super) const SHRINKING: &str = "s2";

type Key = (&'static str, String);

/// What an outsider knows.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Entries that were confirmed or shown, by stream and id, and their `n`.
    entries: BTreeMap<Key, String>,
    /// Entries that somebody asked to delete, answered or not.
    maybe_deleted: BTreeSet<Key>,
    deleted: BTreeSet<Key>,
    /// Acknowledgements that were confirmed, by group, stream and id, numbered in the order in which that was heard.
    acknowledged: BTreeMap<(&'static str, Key), u64>,
    counter: i64,
    pushed: BTreeSet<String>,
    popped: BTreeSet<String>,
    /// Who asked for a job and has no answer yet: each may have taken one.
    popping: usize,
    /// The first thing that must not be.
    pub(super) problem: Option<String>,
}

/// An entry's id and its field `n`.
pub(super) fn entries(reply: &Value) -> Vec<(String, String)> {
    let entry = |value: &Value| {
        let [id, fields] = value.elements()? else { return None };
        Some((id.text()?, fields.elements()?.get(1)?.text()?))
    };
    reply.elements().unwrap_or_default().iter().filter_map(entry).collect()
}

impl Ledger {
    pub(super) fn fail(&mut self, problem: impl FnOnce() -> String) {
        self.problem.get_or_insert_with(problem);
    }

    /// An entry was confirmed to its publisher, or shown to somebody.
    pub(super) fn known(&mut self, stream: &'static str, id: &str, n: &str) {
        let key = (stream, id.to_owned());
        if self.deleted.contains(&key) {
            // The reply may have been on its way before; what a new broker shows is checked at its beginning.
            return;
        }
        let before = self.entries.insert(key, n.to_owned());
        if before.as_deref().is_some_and(|before| before != n) {
            self.fail(|| format!("{stream} {id} was {before:?} and is {n}"));
        }
    }

    /// A number to compare with later, when what is asked now is answered.
    pub(super) fn now(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// An entry was delivered to a member of a group that asked at `asked`.
    pub(super) fn delivered(
        &mut self,
        group: &'static str,
        stream: &'static str,
        (id, n): &(String, String),
        asked: u64,
    ) {
        self.known(stream, id, n);
        let key = (group, (stream, id.clone()));
        if self.acknowledged.get(&key).is_some_and(|&heard| heard < asked) {
            self.fail(|| format!("{group} was given {stream} {id} after it was acknowledged"));
        }
    }

    pub(super) fn acknowledged(&mut self, group: &'static str, stream: &'static str, id: &str) {
        let number = self.now();
        let key = (group, (stream, id.to_owned()));
        if self.acknowledged.insert(key, number).is_some() {
            self.fail(|| format!("{group} acknowledged {stream} {id} twice, and both counted"));
        }
    }

    pub(super) fn deleting(&mut self, id: &str) {
        self.maybe_deleted.insert((SHRINKING, id.to_owned()));
    }

    pub(super) fn deleted(&mut self, id: &str) {
        self.deleted.insert((SHRINKING, id.to_owned()));
    }

    /// An id of the shrinking stream that may be deleted.
    pub(super) fn any_deletable(&self, rng: &mut fastrand::Rng) -> Option<String> {
        let own = self.entries.keys().filter(|(stream, _)| *stream == SHRINKING);
        let ids: Vec<&String> = own.map(|(_, id)| id).collect();
        ids.get(rng.usize(..ids.len().max(1))).map(|id| (*id).clone())
    }

    /// The counter's value as a reply said it.
    pub(super) fn counted(&mut self, value: i64) {
        self.counter = self.counter.max(value);
    }

    pub(super) fn pushed(&mut self, job: &str) {
        self.pushed.insert(job.to_owned());
    }

    pub(super) fn popping(&mut self) {
        self.popping += 1;
    }

    pub(super) fn answered(&mut self) {
        self.popping -= 1;
    }

    pub(super) fn popped(&mut self, job: &str) {
        if !self.popped.insert(job.to_owned()) {
            self.fail(|| format!("job {job} was handed out twice"));
        }
    }

    /// Takes what a broker holds for all that is known: for policies that promise less than an end took.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Compares all that is known with what a broker holds that has just been opened.
    pub(super) async fn check(&mut self, client: &mut Client) -> Result<(), Gone> {
        for stream in STREAMS {
            let kept: BTreeMap<String, String> =
                entries(&client.call(&["XRANGE", stream, "-", "+"]).await?).into_iter().collect();
            self.check_entries(stream, &kept);
            for group in GROUPS {
                let pending = client.call(&["XPENDING", stream, group, "-", "+", "100000"]).await?;
                let ids = pending.elements().unwrap_or_default().iter();
                for id in ids.filter_map(|entry| entry.elements()?.first()?.text()) {
                    if self.acknowledged.contains_key(&(group, (stream, id.clone()))) {
                        self.fail(|| format!("{group} has {stream} {id} pending, which was acknowledged"));
                    }
                }
            }
        }
        self.check_pairs(client).await?;
        self.check_numbers(client).await?;
        self.check_jobs(client).await
    }

    fn check_entries(&mut self, stream: &'static str, kept: &BTreeMap<String, String>) {
        let known = self.entries.iter().filter(|((of, _), _)| *of == stream);
        let lost = known.map(|(key, n)| (key, n, kept.get(&key.1))).find(|(key, n, found)| match found {
            Some(found) => found != n,
            None => !self.maybe_deleted.contains(*key),
        });
        let lost =
            lost.map(|(key, n, found)| format!("{key:?}: {n} was promised or shown, {found:?} is there"));
        let back = self.deleted.iter().find(|(of, id)| *of == stream && kept.contains_key(id));
        let back = back.map(|key| format!("{key:?} was deleted and is there again"));
        for problem in lost.into_iter().chain(back) {
            self.fail(|| problem);
        }
        // Whoever opens it may be shown all of it: it must stay from now on.
        for (id, n) in kept {
            self.known(stream, id, n);
        }
    }

    /// Transactions put an entry in two streams, or in none.
    async fn check_pairs(&mut self, client: &mut Client) -> Result<(), Gone> {
        let mut pairs = Vec::new();
        for stream in ["s0", "s1"] {
            let all = entries(&client.call(&["XRANGE", stream, "-", "+"]).await?);
            pairs.push(
                all.into_iter().map(|(_, n)| n).filter(|n| n.starts_with("pair")).collect::<BTreeSet<_>>(),
            );
        }
        if pairs[0] != pairs[1] {
            self.fail(|| format!("half a transaction: {:?}", pairs[0].symmetric_difference(&pairs[1])));
        }
        Ok(())
    }

    async fn check_numbers(&mut self, client: &mut Client) -> Result<(), Gone> {
        let mut numbers = Vec::new();
        for key in ["counter", "account:a", "account:b"] {
            let text = client.call(&["GET", key]).await?.text();
            numbers.push(text.and_then(|text| text.parse::<i64>().ok()).unwrap_or_default());
        }
        if numbers[0] < self.counter {
            let heard = self.counter;
            self.fail(|| format!("the counter is {} and was {heard}", numbers[0]));
        }
        self.counted(numbers[0]);
        if numbers[1] + numbers[2] != 0 {
            self.fail(|| format!("half a transfer: {} and {}", numbers[1], numbers[2]));
        }
        Ok(())
    }

    async fn check_jobs(&mut self, client: &mut Client) -> Result<(), Gone> {
        let mut members = Vec::new();
        for command in [&["ZRANGE", "jobs", "0", "-1"][..], &["HKEYS", "jobs:bodies"]] {
            let reply = client.call(command).await?;
            let texts = reply.elements().unwrap_or_default().iter().filter_map(Value::text);
            members.push(texts.collect::<BTreeSet<_>>());
        }
        if members[0] != members[1] {
            self.fail(|| format!("half a job: {:?}", members[0].symmetric_difference(&members[1])));
        }
        let back = self.popped.intersection(&members[0]).next().cloned();
        let lost: Vec<&String> =
            self.pushed.difference(&self.popped).filter(|job| !members[0].contains(*job)).collect();
        let lost =
            (lost.len() > self.popping).then(|| format!("of {lost:?} only {} can be taken", self.popping));
        for problem in back.map(|job| format!("job {job} is there again")).into_iter().chain(lost) {
            self.fail(|| problem);
        }
        // What is there now must stay; what is not there was taken.
        self.popping = 0;
        self.popped.extend(self.pushed.difference(&members[0]).cloned());
        self.pushed.extend(members.swap_remove(0));
        Ok(())
    }
}
