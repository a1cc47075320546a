-- The number of the format that records are kept in. An account of a later one is left alone.
local FORMAT = '1'
local format = redis.call('HGET', KEYS[1], 'f')
if format and format ~= FORMAT then
  return redis.error_reply('TGFORMAT ' .. format)
end
