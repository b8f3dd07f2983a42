-- Appends an entry, unless this call was carried out before; its id.
-- KEYS: stream, the producer's marks
-- ARGV: the mark's place, the call's number, ms that the marks are kept, then fields and values
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then
  local number, entry = string.match(known, '^(%d+) (.+)$')
  -- A later call has the place: this one was given up, and must not take its mark.
  if tonumber(number) > tonumber(ARGV[2]) then return redis.error_reply('ERR this call was given up') end
  if number == ARGV[2] then return entry end
end
local entry = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 4))
if type(entry) == 'table' then return entry end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. entry)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return entry
