-- KEYS: messages, hash. ARGV: units, how many, visibility timeout in ms or '' or 'pop'. Replies with the server's time, the
-- visibility timeout, when the earliest message that was not taken is due ('' if that is unknown or never), and per message: id,
-- body, receive count, time of the first receipt.
local q, problem = load(KEYS[2], ARGV[1], 'totalrecv')
if not q then return problem end
local now = clock()
local wanted, pop = tonumber(ARGV[2]), ARGV[3] == 'pop'
local vt = tonumber(ARGV[3]) or q.vt

-- An id without a body is a leftover: nobody could make anything of it.
local ids, found
repeat
  local orphans = {}
  ids = call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, wanted)
  if #ids == 0 then break end
  local fields = {}
  for i, id in ipairs(ids) do
    fields[3 * i - 2] = id
    fields[3 * i - 1] = id .. ':rc'
    fields[3 * i] = id .. ':fr'
  end
  found = call('HMGET', KEYS[2], unpack(fields))
  for i, id in ipairs(ids) do
    if not found[3 * i - 2] then
      orphans[#orphans + 1] = id
      call('HDEL', KEYS[2], id .. ':rc', id .. ':fr')
    end
  end
  if #orphans > 0 then call('ZREM', KEYS[1], unpack(orphans)) end
until #orphans == 0

local reply, scores, fields = {now, vt, ''}, {}, {}
for i, id in ipairs(ids) do
  local count = (tonumber(found[3 * i - 1]) or 0) + 1
  local first = count == 1 and now or tonumber(found[3 * i]) or 0
  local at = 4 * i
  reply[at], reply[at + 1], reply[at + 2], reply[at + 3] = id, found[3 * i - 2], count, first
  if pop then
    fields[at - 3], fields[at - 2], fields[at - 1], fields[at] = id, id .. ':rc', id .. ':fr', id .. ':dead'
  else
    scores[2 * i - 1], scores[2 * i] = now + vt, id
    fields[#fields + 1] = id .. ':rc'
    fields[#fields + 1] = count
    if count == 1 then
      fields[#fields + 1] = id .. ':fr'
      fields[#fields + 1] = now
    end
  end
end
if #ids > 0 then
  local total = q.field + #ids
  if pop then
    call('ZREM', KEYS[1], unpack(ids))
    call('HDEL', KEYS[2], unpack(fields))
    call('HSET', KEYS[2], 'totalrecv', total)
  else
    call('ZADD', KEYS[1], unpack(scores))
    call('HSET', KEYS[2], 'totalrecv', total, unpack(fields))
  end
end
if #ids < wanted then
  local earliest = call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  if earliest[2] then reply[3] = earliest[2] end
end
return reply
