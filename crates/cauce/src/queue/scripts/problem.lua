-- What is wrong with the settings of a queue, if anything; see `Units` for the signs of milliseconds.
local function problem(q, hash, units)
  if not (q[1] and q[2] and q[3]) then return 'queueNotFound' end
  local vt, delay = tonumber(q[1]), tonumber(q[2])
  local foreign = not vt or not delay
  if not foreign and units == 'checked' and (vt >= 1000 or delay >= 1000) then
    foreign = vt > 9999999 or delay > 9999999
    local seen = call('HMGET', hash, 'units', 'totalsent', 'totalrecv')
    if seen[1] ~= 's' then
      foreign = foreign or seen[2] == '0' or seen[3] == '0'
        or ((vt >= 1000 or vt == 0) and vt % 1000 == 0 and delay % 1000 == 0)
    end
  end
  if foreign then return {'foreignUnits', q[1], q[2]} end
end

