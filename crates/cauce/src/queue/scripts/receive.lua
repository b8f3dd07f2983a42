-- KEYS: messages, hash. ARGV: units, how many, visibility timeout in ms or '' or 'pop'. Replies with the server's time, when the
-- next message is due ('' if that is now or never), and per message: id, body, receive count, time of the first receipt, traceparent or ''.
local q = call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize', 'totalrecv')
-- Short numbers need no doubt.
if not q[1] or not q[2] or not q[3] or #q[1] > 3 or #q[2] > 3 then
  local wrong = problem(q, KEYS[2], ARGV[1])
  if wrong then return wrong end
end
local t = call('TIME')
local now = t[1] * 1000 + (t[2] - t[2] % 1000) / 1000
-- Times, counts and totals go to commands as texts: numbers are written in a slow way.
local format = string.format
local clock = format('%d', now)

-- An id without a body is a leftover: nobody could make anything of it.
local ids, found
repeat
  local orphans = {}
  ids = call('ZRANGEBYSCORE', KEYS[1], '-inf', clock, 'LIMIT', '0', ARGV[2])
  local fields = {}
  for i = 1, #ids do
    local id = ids[i]
    fields[4 * i - 3], fields[4 * i - 2], fields[4 * i - 1], fields[4 * i] = id, id .. ':rc', id .. ':fr', id .. ':trace'
  end
  if #ids > 0 then found = call('HMGET', KEYS[2], unpack(fields)) end
  for i = 1, #ids do
    if not found[4 * i - 3] then orphans[#orphans + 1] = ids[i] end
  end
  for _, id in ipairs(orphans) do
    call('ZREM', KEYS[1], id)
    call('HDEL', KEYS[2], id .. ':rc', id .. ':fr', id .. ':trace')
  end
until #orphans == 0

local reply, count = {now, ''}, #ids
if count < tonumber(ARGV[2]) then
  local next = call('ZRANGE', KEYS[1], count, count, 'WITHSCORES')
  if next[2] then reply[2] = next[2] end
end
if count == 0 then return reply end
local total = format('%d', (q[4] or 0) + count)
if ARGV[3] == 'pop' then
  local fields = {}
  for i = 1, count do
    local id, rc, at = ids[i], (found[4 * i - 2] or 0) + 1, 5 * i
    reply[at - 2], reply[at - 1], reply[at] = id, found[4 * i - 3], rc
    reply[at + 1], reply[at + 2] = rc == 1 and now or (found[4 * i - 1] or 0) + 0, found[4 * i] or ''
    fields[at - 4], fields[at - 3], fields[at - 2] = id, id .. ':rc', id .. ':fr'
    fields[at - 1], fields[at] = id .. ':dead', id .. ':trace'
  end
  call('ZREM', KEYS[1], unpack(ids))
  call('HDEL', KEYS[2], unpack(fields))
  call('HSET', KEYS[2], 'totalrecv', total)
else
  local due = now + (ARGV[3] == '' and q[1] * (ARGV[1] == 'ms' and 1 or 1000) or ARGV[3])
  if count < tonumber(ARGV[2]) and (reply[2] == '' or due < tonumber(reply[2])) then reply[2] = due end
  local score, scores, fields = format('%d', due), {}, {}
  for i = 1, count do
    local id, rc, at, to = ids[i], (found[4 * i - 2] or 0) + 1, #fields, 5 * i
    reply[to - 2], reply[to - 1], reply[to] = id, found[4 * i - 3], rc
    reply[to + 1], reply[to + 2] = rc == 1 and now or (found[4 * i - 1] or 0) + 0, found[4 * i] or ''
    scores[2 * i - 1], scores[2 * i] = score, id
    fields[at + 1], fields[at + 2] = id .. ':rc', rc == 1 and '1' or format('%d', rc)
    if rc == 1 then fields[at + 3], fields[at + 4] = id .. ':fr', clock end
  end
  call('ZADD', KEYS[1], unpack(scores))
  call('HSET', KEYS[2], 'totalrecv', total, unpack(fields))
end
return reply
