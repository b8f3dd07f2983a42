-- Before every script of this directory.

-- Milliseconds by the broker's clock, the only one that all instances share.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- How often an entry that is pending with this consumer was delivered; nil if it is not pending with it, or the group is gone.
local function deliveries(stream, group, id, consumer)
  local found = redis.pcall('XPENDING', stream, group, id, id, 1, consumer)
  return found[1] and found[1][4]
end

-- Adds a record to what is known of an entry's attempts. What a poison entry collects is bounded.
local function note(attempts, id, record)
  local known = redis.call('HGET', attempts, id)
  if not known then
    redis.call('HSET', attempts, id, record)
  elseif #known < 16384 then
    redis.call('HSET', attempts, id, known .. ',' .. record)
  end
end

-- Forgets what is known of an entry's attempts.
local function forget(attempts, id)
  local event = redis.call('HGET', attempts, 'event:' .. id)
  redis.call('HDEL', attempts, id, 'alone:' .. id, 'event:' .. id, 'begun:' .. (event or ''))
end

-- Notes in an inbox that an event was handled. Marks are kept for a time, the last 1,000 whatever their age, and 100,000 at most: for each that comes
-- up to two old ones go.
local function seen(inbox, event, time, kept)
  redis.call('ZADD', inbox, time, event)
  local count, old = redis.call('ZCARD', inbox), {}
  if count > 100000 then
    old = redis.call('ZRANGE', inbox, 0, 1)
  elseif count > 1000 then
    old = redis.call('ZRANGEBYSCORE', inbox, '-inf', time - kept, 'LIMIT', 0, 2)
  end
  if old[1] then redis.call('ZREM', inbox, unpack(old)) end
end

-- Completes a record, JSON that is open at its end, with the times of the attempt.
local function timed(head, ended, took)
  return head .. string.format(',"start":%.0f,"end":%.0f}', ended - took, ended)
end

-- A text as JSON.
local function quoted(text)
  return '"' .. string.gsub(text, '[%c"\\]', function(char) return string.format('\\u%04x', string.byte(char)) end) .. '"'
end

-- An id as a text of fixed length: ids do not fit a Lua number.
local function padded(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. string.rep('0', 20 - #seq) .. seq
end

-- Whether the group will be given an entry again that is not pending: it was lost, and made again from before it, or will be.
local function comes_again(stream, group, id)
  local entries = redis.pcall('XRANGE', stream, id, id)
  if entries.err or not entries[1] then return false end
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local known = {}
    for at = 1, #info, 2 do known[info[at]] = info[at + 1] end
    if known['name'] == group then return padded(known['last-delivered-id']) < padded(id) end
  end
  return true
end
