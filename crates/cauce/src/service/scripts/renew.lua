-- Renews entries of this consumer that have been idle for long; says how many. Never takes one back from a new owner.
-- KEYS: stream
-- ARGV: group, consumer, idle ms, then the ids in their order
local wanted, mine = {}, {}
for at = 4, #ARGV do wanted[ARGV[at]] = true end
local found = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[4], ARGV[#ARGV], 2000, ARGV[2])
for _, pending in ipairs(found) do
  if wanted[pending[1]] then mine[#mine + 1] = pending[1] end
end
if #mine > 0 then
  mine[#mine + 1] = 'JUSTID'
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(mine))
end
return #found
