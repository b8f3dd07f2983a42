-- Appends an entry, unless this call was carried out before; its id, and whether the stream is calm.
-- KEYS: stream, the producer's marks
-- ARGV: the mark's place, the call's number, ms that the marks are kept, 1 to see whether it is calm, then fields and values
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then
  local number, entry = string.match(known, '^(%d+) (.+)$')
  -- A later call has the place: this one was given up, and must not take its mark.
  if tonumber(number) > tonumber(ARGV[2]) then return redis.error_reply('ERR this call was given up') end
  if number == ARGV[2] then return {entry, 0} end
end
local entry = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 5))
if type(entry) == 'table' then return entry end
local calm = ARGV[4] == '1' and is_calm(KEYS[1]) or 0
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. entry)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {entry, calm}
