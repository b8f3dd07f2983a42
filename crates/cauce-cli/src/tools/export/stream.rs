//! A stream as commands: entries, groups, consumers, pending entries, counters.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Context;

use super::Exporter;
use super::source::Reply;

/// Entries, and pending entries, that are asked for at a time.
const PAGE: &[u8] = b"1000";
/// Ids in one command.
const IDS_PER_COMMAND: usize = 500;
/// Who owns what belongs to nobody: a Redis before 8.8 knows no such entries.
const RELEASED: &[u8] = b"cauce:released";
/// A group that is made so that the stream is, and removed at once.
const MAKER: &[u8] = b"cauce:export";

type Id = (u64, u64);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    id: Id,
    consumer: Vec<u8>,
    delivered_at: u64,
    deliveries: i64,
}

struct Group {
    name: Vec<u8>,
    last_delivered: Vec<u8>,
    entries_read: Option<Vec<u8>>,
    consumers: Vec<Vec<u8>>,
    pending: Vec<Pending>,
}

impl<W: Write> Exporter<W> {
    /// An entry that is pending and deleted is written and deleted again: XCLAIM takes only what is there.
    pub(super) fn stream(&mut self, key: &[u8]) -> anyhow::Result<()> {
        let info = self.source.call(&[b"XINFO", b"STREAM", key])?;
        let groups = self.groups(key)?;
        let pending: BTreeSet<Id> = groups.iter().flat_map(|group| &group.pending).map(|p| p.id).collect();
        let stand_ins = self.entries(key, &pending)?;
        if stand_ins.first_entry.is_none() && stand_ins.ids.is_empty() {
            self.put(&[b"XGROUP", b"CREATE", key, MAKER, b"$", b"MKSTREAM"])?;
            self.put(&[b"XGROUP", b"DESTROY", key, MAKER])?;
        }
        for group in &groups {
            self.group(key, group)?;
        }
        self.remove(key, &stand_ins)?;
        let field = |name| info.field(name).cloned().and_then(Reply::optional);
        let last_id = field("last-generated-id").context("XINFO STREAM names no last id")?;
        let mut set_id = vec![&b"XSETID"[..], key, &last_id];
        let added = field("entries-added");
        if let Some(added) = &added {
            set_id.extend([&b"ENTRIESADDED"[..], added]);
        }
        let max_deleted = field("max-deleted-entry-id").filter(|id| id != b"0-0");
        if let Some(id) = &max_deleted {
            set_id.extend([&b"MAXDELETEDID"[..], id]);
        }
        self.put(&set_id)
    }

    fn groups(&mut self, key: &[u8]) -> anyhow::Result<Vec<Group>> {
        let mut groups = Vec::new();
        for found in self.source.call(&[b"XINFO", b"GROUPS", key])?.list() {
            let field = |name| found.field(name).cloned().and_then(Reply::optional);
            let name = field("name").context("XINFO GROUPS names no group")?;
            let consumers = self.source.call(&[b"XINFO", b"CONSUMERS", key, &name])?.list();
            let consumers =
                consumers.iter().filter_map(|consumer| consumer.field("name")?.clone().optional());
            groups.push(Group {
                consumers: consumers.collect(),
                last_delivered: field("last-delivered-id").context("XINFO GROUPS names no last id")?,
                entries_read: field("entries-read"),
                pending: self.pending(key, &name)?,
                name,
            });
        }
        Ok(groups)
    }

    fn pending(&mut self, key: &[u8], group: &[u8]) -> anyhow::Result<Vec<Pending>> {
        let mut all: Vec<Pending> = Vec::new();
        let mut from = b"-".to_vec();
        loop {
            // Idle times count from now, so the time is asked for along with them.
            let page = [&b"XPENDING"[..], key, group, &from, b"+", PAGE];
            let mut replies = self.source.call_at_once(&[&[b"TIME"], &page])?.into_iter();
            let (time, page) = (replies.next().unwrap_or(Reply::Null), replies.next().unwrap_or(Reply::Null));
            let now_ms = milliseconds(&time.list())?;
            let before = all.len();
            for entry in page.list() {
                all.push(parse_pending(entry, now_ms)?);
            }
            match all.get(before..).and_then(<[Pending]>::last) {
                Some(last) => from = [b"(".as_slice(), &text(last.id)].concat(),
                None => return Ok(all),
            }
        }
    }

    /// Writes the entries, and stand-ins for those that are pending and not there any more.
    fn entries(&mut self, key: &[u8], pending: &BTreeSet<Id>) -> anyhow::Result<StandIns> {
        let mut stand_ins = StandIns::default();
        let mut waiting = pending.iter().copied().peekable();
        let mut from = b"-".to_vec();
        loop {
            let page = self.source.call(&[b"XRANGE", key, &from, b"+", b"COUNT", PAGE])?.list();
            if page.is_empty() {
                break;
            }
            for entry in page {
                let [id, fields] = <[Reply; 2]>::try_from(entry.list())
                    .ok()
                    .context("XRANGE replied with something that is no entry")?;
                let id_text = id.bytes();
                let id = parse_id(&id_text)?;
                while let Some(missing) = waiting.next_if(|&waiting| waiting < id) {
                    self.stand_in(key, missing, &mut stand_ins)?;
                }
                waiting.next_if_eq(&id);
                stand_ins.first_entry.get_or_insert(id);
                let fields: Vec<Vec<u8>> = fields.list().into_iter().map(Reply::bytes).collect();
                self.put_all(&[b"XADD", key, &id_text], &fields)?;
                self.written.entries += 1;
                from = [b"(".as_slice(), &id_text].concat();
            }
        }
        for missing in waiting {
            self.stand_in(key, missing, &mut stand_ins)?;
        }
        Ok(stand_ins)
    }

    fn stand_in(&mut self, key: &[u8], id: Id, stand_ins: &mut StandIns) -> anyhow::Result<()> {
        stand_ins.ids.push(id);
        self.put(&[b"XADD", key, &text(id), b"deleted", b"1"])
    }

    fn group(&mut self, key: &[u8], group: &Group) -> anyhow::Result<()> {
        let mut create = vec![&b"XGROUP"[..], b"CREATE", key, &group.name, &group.last_delivered];
        if let Some(read) = &group.entries_read {
            create.extend([&b"ENTRIESREAD"[..], read]);
        }
        self.put(&create)?;
        for consumer in &group.consumers {
            self.put(&[b"XGROUP", b"CREATECONSUMER", key, &group.name, consumer])?;
        }
        let alike = |a: &Pending, b: &Pending| {
            (&a.consumer, a.delivered_at, a.deliveries) == (&b.consumer, b.delivered_at, b.deliveries)
        };
        for run in group.pending.chunk_by(alike).flat_map(|run| run.chunks(IDS_PER_COMMAND)) {
            let Some(first) = run.first() else { continue };
            let consumer = if first.consumer.is_empty() { RELEASED } else { &first.consumer };
            let ids: Vec<Vec<u8>> = run.iter().map(|pending| text(pending.id)).collect();
            let (time, count) = (first.delivered_at.to_string(), first.deliveries.to_string());
            let mut claim = vec![&b"XCLAIM"[..], key, &group.name, consumer, b"0"];
            claim.extend(ids.iter().map(Vec::as_slice));
            claim.extend([
                &b"TIME"[..],
                time.as_bytes(),
                b"RETRYCOUNT",
                count.as_bytes(),
                b"FORCE",
                b"JUSTID",
            ]);
            self.put(&claim)?;
        }
        Ok(())
    }

    /// Deleting sets the highest deleted id, which cannot be set back; trimming does not.
    fn remove(&mut self, key: &[u8], stand_ins: &StandIns) -> anyhow::Result<()> {
        let Some(first_entry) = stand_ins.first_entry else {
            if !stand_ins.ids.is_empty() {
                self.put(&[b"XTRIM", key, b"MAXLEN", b"=", b"0"])?;
            }
            return Ok(());
        };
        let inside: Vec<Vec<u8>> =
            stand_ins.ids.iter().filter(|&&id| id > first_entry).map(|&id| text(id)).collect();
        if inside.len() < stand_ins.ids.len() {
            self.put(&[b"XTRIM", key, b"MINID", b"=", &text(first_entry)])?;
        }
        for ids in inside.chunks(IDS_PER_COMMAND) {
            self.put_all(&[b"XDEL", key], ids)?;
        }
        Ok(())
    }
}

/// Entries that were written only to be claimed, and the first that was not.
#[derive(Debug, Default)]
struct StandIns {
    ids: Vec<Id>,
    first_entry: Option<Id>,
}

fn parse_pending(entry: Reply, now_ms: u64) -> anyhow::Result<Pending> {
    let [id, consumer, idle, deliveries] = <[Reply; 4]>::try_from(entry.list())
        .ok()
        .context("XPENDING replied with something that is no pending entry")?;
    // Nobody's entries are idle for -1 ms: they are due at once.
    let delivered_at = u64::try_from(idle.number()?).map_or(0, |idle| now_ms.saturating_sub(idle));
    Ok(Pending {
        id: parse_id(&id.bytes())?,
        consumer: consumer.bytes(),
        delivered_at,
        deliveries: deliveries.number()?,
    })
}

/// The reply of TIME.
fn milliseconds(time: &[Reply]) -> anyhow::Result<u64> {
    let [seconds, micros] = time else { anyhow::bail!("TIME replied with something else") };
    Ok(u64::try_from(seconds.number()? * 1000 + micros.number()? / 1000)?)
}

fn parse_id(text: &[u8]) -> anyhow::Result<Id> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| {
        let (ms, seq) = text.split_once('-')?;
        Some((ms.parse().ok()?, seq.parse().ok()?))
    });
    parsed.with_context(|| format!("{} is no id of an entry", String::from_utf8_lossy(text)))
}

fn text((ms, seq): Id) -> Vec<u8> {
    format!("{ms}-{seq}").into_bytes()
}
