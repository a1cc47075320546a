-- Reads what a command needs of an account, and changes nothing.
local TOKENS = KEYS[6]
local now, claim_key, spends_as = ARGV[1], ARGV[2], ARGV[3]

local facts = redis.call('HMGET', ACCOUNT, 'n', 'v', 's', 'w')
local parts = { facts[1] or '', facts[2] or '', facts[3] or '', facts[4] or '' }
parts[5] = claim_key ~= '' and redis.call('HGET', CLAIMS, claim_key) or ''
parts[6] = spends_as ~= '' and redis.call('HGET', SPENT, spends_as) or ''

local digests = tonumber(ARGV[4])
for place = 1, digests do
  parts[#parts + 1] = redis.call('HGET', TOKENS, ARGV[4 + place]) or ''
end
for place = 7, #KEYS do
  parts[#parts + 1] = redis.call('GET', KEYS[place]) or ''
end
if now ~= '' then
  for _, due in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now)) do
    local id = due:sub(2)
    local record = due:byte(1) == 114 and redis.call('HGET', RESERVATIONS, id)
    if record then
      parts[#parts + 1] = id
      parts[#parts + 1] = record
    end
  end
end
return reply_of(parts)
