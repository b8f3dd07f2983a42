-- Applies what a handler asked for and settles its entry: all of it, or nothing. 1 if it did, 0 if this consumer does not own the entry any more,
-- 2 if the event was handled before (the entry is acknowledged).
-- KEYS: stream, attempts, inbox, then those of the steps
-- ARGV: group, consumer, id, delivery count (0: it is not pending), '1' to delete the entry, event id ('' without an inbox), ms that marks are kept; then
-- per step its name, the number of its key, how many arguments, and these
local stream, attempts, inbox, group, id, count = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[3], tonumber(ARGV[4])
local event = ARGV[6]
if count > 0 and deliveries(stream, group, id, ARGV[2]) ~= count then return 0 end

local function settle()
  if count > 0 then redis.call('XACK', stream, group, id) end
  if ARGV[5] == '1' then redis.call('XDEL', stream, id) end
  forget(attempts, id)
end

if event ~= '' and redis.call('ZSCORE', inbox, event) then
  settle()
  return 2
end

-- First everything is looked at that could be refused. What the steps before would have changed is kept in mind.
local kinds, texts = {}, {}
local takes = {
  SET = 'any', DEL = 'any', PEXPIRE = 'any', EXPECT = 'string', INCRBY = 'string', HEXPECT = 'hash', HSET = 'hash', HDEL = 'hash',
  HINCRBY = 'hash', SADD = 'set', SREM = 'set', ZADD = 'zset', ZREM = 'zset', XADD = 'stream', LATER = 'zset',
  REPLY = 'stream',
}
local makes = { INCRBY = 'string', HSET = 'hash', HINCRBY = 'hash', SADD = 'set', ZADD = 'zset', XADD = 'stream', LATER = 'zset', REPLY = 'stream' }

local function refused(problem)
  return redis.error_reply('TRANSACTION ' .. problem)
end

-- A value that steps before may have set: what they did is kept by key, and there by field (0: the key's own value).
local function current(key, field)
  local texts_of_key = texts[key] or {}
  texts[key] = texts_of_key
  local text = texts_of_key[field or 0]
  if text == nil then
    if kinds[key] == 'none' then
      text = false
    elseif field then
      text = redis.call('HGET', key, field)
    else
      text = redis.call('GET', key)
    end
    texts_of_key[field or 0] = text
  end
  return text
end

local function becomes(key, field, text)
  texts[key] = texts[key] or {}
  texts[key][field or 0] = text
end

-- Sums are exact up to 2^53 here.
local function sum(key, field, amount)
  local text = current(key, field)
  local number = tonumber(text or '0')
  if not number or number ~= math.floor(number) then return 'the value of `' .. key .. '` is no integer' end
  number = number + tonumber(amount)
  if math.abs(number) >= 9007199254740992 then return 'the value of `' .. key .. '` would be beyond 2^53' end
  becomes(key, field, string.format('%.0f', number))
end

local function problem(name, key, args)
  kinds[key] = kinds[key] or redis.call('TYPE', key)['ok']
  local takes = takes[name]
  if not takes then return 'there is no step ' .. name end
  if takes ~= 'any' and kinds[key] ~= 'none' and kinds[key] ~= takes then
    return 'the key `' .. key .. '` holds a ' .. kinds[key] .. ', and ' .. name .. ' wants a ' .. takes
  end
  local is_command = name ~= 'EXPECT' and name ~= 'HEXPECT' and name ~= 'LATER' and name ~= 'REPLY'
  if is_command and redis.acl_check_cmd and not redis.acl_check_cmd(name, key, unpack(args)) then
    return 'the user of this connection may not run ' .. name .. ' on `' .. key .. '`'
  end
  if name == 'EXPECT' or name == 'HEXPECT' then
    local field = name == 'HEXPECT' and args[1] or nil
    local wanted = args[field and 2 or 1] or false
    if current(key, field) ~= wanted then return 'the value of `' .. key .. '` has changed' end
  elseif name == 'INCRBY' then
    local found = sum(key, nil, args[1])
    if found then return found end
  elseif name == 'HINCRBY' then
    local found = sum(key, args[1], args[2])
    if found then return found end
  elseif name == 'SET' then
    kinds[key] = 'string'
    becomes(key, nil, args[1])
  elseif name == 'HSET' then
    becomes(key, args[1], args[2])
  elseif name == 'HDEL' then
    becomes(key, args[1], false)
  elseif name == 'DEL' then
    kinds[key], texts[key] = 'none', {}
  elseif name == 'REPLY' and redis.acl_check_cmd and not redis.acl_check_cmd('XADD', key, '*', unpack(args, 3)) then
    return 'the user of this connection may not reply on `' .. key .. '`'
  elseif name == 'LATER' and redis.call('ZCARD', key) >= 1000000 then
    return '1000000 events wait for their time on a stream already'
  end
  if makes[name] and kinds[key] == 'none' then kinds[key] = makes[name] end
end

local steps, at = {}, 8
while at <= #ARGV do
  local length = tonumber(ARGV[at + 2])
  local args = {}
  for n = 1, length do args[n] = ARGV[at + 2 + n] end
  local name, key = ARGV[at], KEYS[tonumber(ARGV[at + 1])]
  local found = problem(name, key, args)
  if found then return refused(found) end
  steps[#steps + 1] = {name, key, args, tonumber(ARGV[at + 1])}
  at = at + 3 + length
end

-- The first write is one that a full server refuses: then nothing has happened.
redis.call('HSET', attempts, 'applying', id)
redis.call('HDEL', attempts, 'applying')
local time = now()
for _, step in ipairs(steps) do
  local name, key, args = step[1], step[2], step[3]
  if name == 'LATER' then
    -- Its key is the due times; the events are the key after it.
    if not redis.call('ZSCORE', key, args[1]) then
      redis.call('HSET', KEYS[step[4] + 1], args[1], cmsgpack.pack({'', unpack(args, 3)}))
      redis.call('ZADD', key, string.format('%.0f', time + args[2]), args[1])
    end
  elseif name == 'REPLY' then
    -- The requester's stream: how many replies it keeps, for how long it lives, and the entry.
    redis.call('XADD', key, 'MAXLEN', '~', args[1], '*', unpack(args, 3))
    redis.call('PEXPIRE', key, args[2])
  elseif name ~= 'EXPECT' and name ~= 'HEXPECT' then
    redis.call(name, key, unpack(args))
  end
end
if event ~= '' then seen(inbox, event, time, ARGV[7]) end
settle()
return 1
