-- Appends entries, unless this call was carried out before; whether the stream is calm, their ids, and after them the error if one was refused.
-- KEYS: stream, the producer's marks
-- ARGV: the mark's place, the call's number, ms that the marks are kept, 1 to see whether it is calm, then per entry how many arguments it has, and its fields and values
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then
  local number, entries = string.match(known, '^(%d+) (.*)$')
  -- A later call has the place: this one was given up, and must not take its mark.
  if tonumber(number) > tonumber(ARGV[2]) then return redis.error_reply('ERR this call was given up') end
  if number == ARGV[2] then
    local ids = {0}
    for id in string.gmatch(entries, '%S+') do ids[#ids + 1] = id end
    return ids
  end
end
local ids, at, failed = {}, 5, nil
while at <= #ARGV and not failed do
  local last = at + tonumber(ARGV[at])
  local entry = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, at + 1, last))
  if type(entry) == 'table' then failed = entry else ids[#ids + 1] = entry end
  at = last + 1
end
if #ids > 0 then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. table.concat(ids, ' '))
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
table.insert(ids, 1, ARGV[4] == '1' and is_calm(KEYS[1]) or 0)
ids[#ids + 1] = failed
return ids
