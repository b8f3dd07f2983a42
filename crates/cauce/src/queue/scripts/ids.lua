-- What ids begin with: the microsecond in base 36.
local function prefix(t)
  local us = t[1] * 1000000 + t[2]
  local low = us % 60466176
  us = (us - low) / 60466176
  local function five(n)
    local e = n % 36
    n = (n - e) / 36
    local d = n % 36
    n = (n - d) / 36
    local c = n % 36
    n = (n - c) / 36
    local b = n % 36
    local a = (n - b) / 36
    -- 48 is '0', 97 is 'a'.
    return string.char(a + (a < 10 and 48 or 87), b + (b < 10 and 48 or 87), c + (c < 10 and 48 or 87),
      d + (d < 10 and 48 or 87), e + (e < 10 and 48 or 87))
  end
  return five(us) .. five(low)
end

