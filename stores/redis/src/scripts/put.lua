-- Writes settings, tokens or a new account, if nobody else did since they were read. An account: `n`
-- counts the changes, `v` is the number of the latest one of the settings, `s` the settings, `k` the caps,
-- `f` the format.
local ACCOUNT, TOKENS, SENDERS, NONCE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expected, new_wallet, settings, caps = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local tokens, senders = tonumber(ARGV[6]), tonumber(ARGV[7])

local function reply()
  local facts = redis.call('HMGET', ACCOUNT, 'v', 's')
  local parts = { 'K', facts[1] or '', facts[2] or '' }
  local function show(digest, record)
    parts[#parts + 1] = digest
    parts[#parts + 1] = record
  end
  if settings ~= '' then
    local all = redis.call('HGETALL', TOKENS)
    for place = 1, #all, 2 do
      show(all[place], all[place + 1])
    end
  else
    for place = 1, tokens do
      local digest = ARGV[7 + 2 * place]
      show(digest, redis.call('HGET', TOKENS, digest))
    end
  end
  return reply_of(parts)
end

if redis.call('EXISTS', NONCE) == 1 then
  return reply()
end
if (redis.call('HGET', ACCOUNT, 'n') or '') ~= expected then
  return reply_of({ 'Z' })
end
-- A revision only grows, and is not given twice, even if the server loses the latest ones: credentials
-- are known by it.
local count = (tonumber(expected) or 0) + 1
local revision = number_bytes(count * 1048576 + tonumber(ARGV[8]))
local number = text(count)
redis.call('HSET', ACCOUNT, 'n', number, 'f', FORMAT)
if new_wallet ~= '' then
  redis.call('HSET', ACCOUNT, 'w', new_wallet)
end
if settings ~= '' then
  redis.call('HSET', ACCOUNT, 'v', revision, 's', settings, 'k', caps)
  redis.call('DEL', SENDERS)
  for place = 1, senders do
    redis.call('SADD', SENDERS, ARGV[8 + 2 * tokens + place])
  end
end
for place = 1, tokens do
  redis.call('HSET', TOKENS, ARGV[7 + 2 * place], revision .. ARGV[8 + 2 * place])
end
if ARGV[1] ~= '0' then
  redis.call('SET', NONCE, '1', 'PX', ARGV[1])
end
return reply()
