//! RSMQ.DELETE.

use std::collections::HashSet;

use super::Names;
use super::names::Part;
use crate::call::{Call, Flow};
use crate::collections::{Hash, SortedSet};
use crate::commands::{arg, from, hashes, sorted_set};
use crate::errors::{self, Error};

pub(super) fn run(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let (each, rest) = from(args, 3).as_chunks::<2>();
    if !rest.is_empty() {
        return Err(errors::SYNTAX);
    }
    let (messages_key, hash_key) = (arg(args, 1), arg(args, 2));
    let messages = call.find_as::<SortedSet>(messages_key)?;
    let fields = call.find_as::<Hash>(hash_key)?;
    call.reply.array(each.len());
    let database = call.core.database(call.db);
    let set: Option<&SortedSet> = messages.map(|slot| database.look(slot));
    let hash: Option<&Hash> = fields.map(|slot| database.look(slot));
    let field = |name: &[u8]| hash.and_then(|hash| hash.value(name));
    let has_extras = field(b"extras").is_some();
    let (mut gone, mut seen) = (Names::default(), HashSet::with_capacity(each.len()));
    for &[id, fence] in each {
        gone.push(id);
        let is_fenced = !fence.is_empty() && field(gone.last(Part::ReceiveCount)) != Some(fence);
        if is_fenced || !seen.insert(id) {
            gone.pop();
            call.reply.integer(0);
        } else {
            // Where only one of them is there, it is a leftover, which goes too.
            call.reply
                .integer(i64::from(set.is_some_and(|set| set.score(id).is_some()) && field(id).is_some()));
        }
    }
    if let Some(messages) = messages {
        let ids: Vec<&[u8]> = gone.ids().collect();
        sorted_set::remove_members(call, messages, messages_key, &ids);
    }
    if let Some(fields) = fields {
        hashes::delete_fields(call, fields, hash_key, &gone.all(has_extras));
    }
    Ok(Flow::Done)
}
