-- KEYS: messages, hash. ARGV: units, how many, visibility timeout in ms or '' or 'pop'. Replies with the server's time, when the
-- next message is due ('' if that is now or never), and per message: id, body, receive count, time of the first receipt, traceparent or ''.
local q = call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize', 'totalrecv', 'extras')
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
local ids, names, found
repeat
  local orphans = {}
  ids, names = call('ZRANGEBYSCORE', KEYS[1], '-inf', clock, 'LIMIT', '0', ARGV[2]), {}
  for i = 1, #ids do
    local id = ids[i]
    names[2 * i - 1], names[2 * i] = id, id .. ':rc'
  end
  if #ids > 0 then found = call('HMGET', KEYS[2], unpack(names)) end
  for i = 1, #ids do
    if not found[2 * i - 1] then orphans[#orphans + 1] = ids[i] end
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

-- What only some messages have is asked for apart: the first receipts of those that were received before, and traces.
local before, traces = {}, {}
for i = 1, count do
  if found[2 * i] then before[#before + 1] = ids[i] .. ':fr' end
  if q[5] then traces[i] = ids[i] .. ':trace' end
end
local firsts = #before > 0 and call('HMGET', KEYS[2], unpack(before))
if q[5] then traces = call('HMGET', KEYS[2], unpack(traces)) end
local counts, again = {}, 0
for i = 1, count do
  local rc, first = 1, now
  if found[2 * i] then
    rc, again = found[2 * i] + 1, again + 1
    if rc ~= 1 then first = (firsts[again] or 0) + 0 end
  end
  local to = 5 * i
  reply[to - 2], reply[to - 1], reply[to], reply[to + 1], reply[to + 2] = ids[i], found[2 * i - 1], rc, first, traces[i] or ''
  counts[i] = rc
end

local total = format('%d', (q[4] or 0) + count)
if ARGV[3] == 'pop' then
  call('ZREM', KEYS[1], unpack(ids))
  for i = 1, count do
    if found[2 * i] then before[#before + 1] = names[2 * i] end
    if q[5] then
      before[#before + 1] = ids[i] .. ':dead'
      before[#before + 1] = ids[i] .. ':trace'
    end
  end
  call('HDEL', KEYS[2], unpack(ids))
  if #before > 0 then call('HDEL', KEYS[2], unpack(before)) end
  call('HSET', KEYS[2], 'totalrecv', total)
else
  local due = now + (ARGV[3] == '' and q[1] * (ARGV[1] == 'ms' and 1 or 1000) or ARGV[3])
  if count < tonumber(ARGV[2]) and (reply[2] == '' or due < tonumber(reply[2])) then reply[2] = due end
  local score, scores, fields, at = format('%d', due), {}, {}, 0
  for i = 1, count do
    scores[2 * i - 1], scores[2 * i] = score, ids[i]
    fields[at + 1] = names[2 * i]
    if counts[i] == 1 then
      fields[at + 2], fields[at + 3], fields[at + 4] = '1', ids[i] .. ':fr', clock
      at = at + 4
    else
      fields[at + 2] = format('%d', counts[i])
      at = at + 2
    end
  end
  call('ZADD', KEYS[1], unpack(scores))
  call('HSET', KEYS[2], 'totalrecv', total, unpack(fields))
end
return reply
