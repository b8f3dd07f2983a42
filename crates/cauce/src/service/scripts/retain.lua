-- Removes the oldest entries of a stream as far as the policy says and every group is done with them. Replies how many it removed, and 1 if
-- the policy would remove more that a group still needs.
-- KEYS: stream
-- ARGV: age ms, length, bytes of fields and values (each -1 for no limit), at most so many, then groups that do not count
local stream, time, most = KEYS[1], now(), tonumber(ARGV[4])
local length = redis.call('XLEN', stream)
if length == 0 then return {0, 0} end

local function size(entries)
  local bytes = 0
  for _, entry in ipairs(entries) do
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  end
  return bytes
end

-- How many are too many.
local excess = 0
if tonumber(ARGV[2]) >= 0 then excess = length - tonumber(ARGV[2]) end
if tonumber(ARGV[3]) >= 0 then
  local some = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 50)
  local others = redis.call('XRANGE', stream, '-', '+', 'COUNT', 50)
  local each = (size(some) + size(others)) / (#some + #others)
  excess = math.max(excess, length - math.floor(tonumber(ARGV[3]) / math.max(each, 1)))
end
local youngest = tonumber(ARGV[1]) >= 0 and time - tonumber(ARGV[1]) or -1

-- What groups need: from an id on, itself included or not.
local ignored, needed, included = {}, nil, false
for at = 5, #ARGV do ignored[ARGV[at]] = true end
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local known = {}
  for at = 1, #info, 2 do known[info[at]] = info[at + 1] end
  if not ignored[known['name']] then
    local id, itself = known['last-delivered-id'], false
    if known['pending'] > 0 then id, itself = redis.call('XPENDING', stream, known['name'])[2], true end
    local place = padded(id)
    if not needed or place < needed or (place == needed and itself) then needed, included = place, itself end
  end
end

-- The last that goes.
local last, removed, held = nil, 0, 0
for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', most)) do
  local old = tonumber(string.match(entry[1], '^%d+')) < youngest
  if not old and removed >= excess then break end
  local place = padded(entry[1])
  if needed and (place > needed or (included and place == needed)) then
    held = 1
    break
  end
  last, removed = entry[1], removed + 1
end
if last then
  local following = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
  if following then
    redis.call('XTRIM', stream, 'MINID', '=', following[1])
  else
    redis.call('XTRIM', stream, 'MAXLEN', '=', 0)
  end
end
return {removed, held}
