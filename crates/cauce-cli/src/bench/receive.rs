//! Receiving from a queue in RSMQ's layout: a script of six commands, as its clients run it.

use anyhow::ensure;

use crate::client::Control;
use crate::client::resp::encode;

/// Receives the first visible message: its id, body, receive count and first-receive time. `KEYS`: the queue, the
/// server's time, and the time from which the message is visible again.
const SCRIPT: &[u8] = br#"
local due = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", KEYS[2], "LIMIT", "0", "1")
if #due == 0 then
  return {}
end
local id, hash = due[1], KEYS[1] .. ":Q"
redis.call("ZADD", KEYS[1], KEYS[3], id)
redis.call("HINCRBY", hash, "totalrecv", 1)
local body = redis.call("HGET", hash, id)
local count = redis.call("HINCRBY", hash, id .. ":rc", 1)
local reply = { id, body, count }
if count == 1 then
  redis.call("HSET", hash, id .. ":fr", KEYS[2])
  table.insert(reply, KEYS[2])
else
  table.insert(reply, redis.call("HGET", hash, id .. ":fr"))
end
return reply
"#;
/// The name that servers give the script.
const DIGEST: &[u8] = b"de8a7964c20a3529d2b63fdf31adee912d8777d4";
/// Messages in the queue.
const MESSAGES: usize = 1000;
const BODY: &[u8] = &[b'm'; 64];
/// A visibility timeout of zero: the message is due again at once, so that every request finds one.
const NOW: &[u8] = b"1700000000000";

/// Writes one request.
pub(super) fn request(out: &mut Vec<u8>, queue: &[u8]) {
    encode(out, &[b"EVALSHA", DIGEST, b"3", queue, NOW, NOW]);
}

/// Loads the script and fills the queue.
pub(super) fn prepare(control: &mut Control, queue: &[u8]) -> anyhow::Result<()> {
    let digest = control.call(&[b"SCRIPT", b"LOAD", SCRIPT])?;
    ensure!(digest.ends_with(DIGEST), "the script is called {} here", String::from_utf8_lossy(&digest));
    let hash = hash(queue);
    for n in 0..MESSAGES {
        let id = format!("{n:032}");
        control.call(&[b"ZADD", queue, NOW, id.as_bytes()])?;
        control.call(&[b"HSET", &hash, id.as_bytes(), BODY])?;
    }
    Ok(())
}

/// Removes what [`prepare`] made beside the queue's own key.
pub(super) fn clear(control: &mut Control, queue: &[u8]) -> anyhow::Result<()> {
    control.call(&[b"DEL", &hash(queue)])?;
    Ok(())
}

fn hash(queue: &[u8]) -> Vec<u8> {
    [queue, b":Q"].concat()
}
