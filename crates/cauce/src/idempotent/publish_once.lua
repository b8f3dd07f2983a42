-- Appends an event, unless one of that id was appended within the window; the entry's id.
-- KEYS: stream, what was sent, when it was sent
-- ARGV: event id, then fields and values
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then return known end
local entry = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 2))
if type(entry) == 'table' then return entry end
mark(KEYS[2], KEYS[3], ARGV[1], entry, now())
return entry
