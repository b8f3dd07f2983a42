-- Acknowledges what this consumer still owns; says how many.
-- KEYS: stream, attempts, reader, inbox
-- ARGV: group, consumer, '1' to delete the entries too, '1' where order is kept (then the reader has everything), ms that the inbox keeps
-- marks ('' without one), how many runs; per run its lease's end, delivery count, '1' if attempts are
-- known of its entries, and length; then all ids, run by run.
local stream, attempts, group, consumer, side = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3] == '1'
local ordered, kept, runs, time, settled = ARGV[4] == '1', ARGV[5], tonumber(ARGV[6]), now(), 0
local reads = ordered and redis.call('GET', KEYS[3]) == consumer

-- The event of an entry that a handler began with was handled.
local function mark(id)
  local event = redis.call('HGET', attempts, 'event:' .. id)
  if event then
    seen(KEYS[4], event, time, kept)
    forget(attempts, id)
  end
end

local first = 7 + 4 * runs
for run = 0, runs - 1 do
  local head = 7 + 4 * run
  local deadline, count, length = tonumber(ARGV[head]), tonumber(ARGV[head + 1]), tonumber(ARGV[head + 3])
  local noted = ARGV[head + 2] == '1'
  local last = first + length - 1
  if (reads or not ordered and time < deadline) and not noted then
    -- Nobody can have taken them over yet.
    settled = settled + redis.call('XACK', stream, group, unpack(ARGV, first, last))
    if side then redis.call('XDEL', stream, unpack(ARGV, first, last)) end
    if kept ~= '' then
      for at = first, last do mark(ARGV[at]) end
    end
  else
    for at = first, last do
      local id = ARGV[at]
      if deliveries(stream, group, id, consumer) == count then
        settled = settled + redis.call('XACK', stream, group, id)
        if side then redis.call('XDEL', stream, id) end
        if kept ~= '' then mark(id) end
        forget(attempts, id)
      end
    end
  end
  first = last + 1
end
return settled
