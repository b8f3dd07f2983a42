-- Saves from where the group would have to go on if it were lost: its lowest pending entry, or after the newest that it was given.
-- KEYS: stream, cursor
-- ARGV: group
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if pending.err then return 0 end
if pending[1] > 0 then
  redis.call('SET', KEYS[2], 'from ' .. pending[2])
  return 1
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local known = {}
  for at = 1, #group, 2 do known[group[at]] = group[at + 1] end
  if known['name'] == ARGV[1] then redis.call('SET', KEYS[2], 'after ' .. known['last-delivered-id']) end
end
return 1
