-- Counts one limit whose cell is in a slot of its own. Gives `1` when it passes, and the cell before.
local repeated = redis.call('GET', KEYS[2])
if repeated then
  return repeated
end
local now_high, now_low = u64(ARGV[3], 1)
local stored = redis.call('GET', KEYS[1]) or ''
local passes, following, rest = check_cell(ARGV[4], stored, tonumber(ARGV[2]), now_high, now_low)
local reply = reply_of({ passes and '1' or '0', stored })
if following then
  put_cell(KEYS[1], following, rest)
  if ARGV[1] ~= '0' then
    redis.call('SET', KEYS[2], reply, 'PX', ARGV[1])
  end
end
return reply
