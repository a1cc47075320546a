-- Puts the copy of a token that look-ups read, unless there is a later one. A later one that the account
-- itself was found to know nothing of is none: the server lost what it was made from.
local before = redis.call('GET', KEYS[1])
if before and number(before, 1) > number(ARGV[1], 1) and before:sub(1, 8) ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
