-- Puts the copy of a token that look-ups read, unless there is a later one.
local before = redis.call('GET', KEYS[1])
if before and number(before, 1) > number(ARGV[1], 1) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
