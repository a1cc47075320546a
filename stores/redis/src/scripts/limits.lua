-- An admission that only limits hold back: of the account it reads no more than the revision.
local ACCOUNT, TOKENS, NONCE = KEYS[1], KEYS[2], KEYS[3]
local FIRST_CELL, FIRST_LIMIT = 4, 6

local repeated = redis.call('GET', NONCE)
if repeated then
  return repeated
end
local now_high, now_low = u64(ARGV[3], 1)
local raw, following, refused_requests, refused_executions =
  gather(FIRST_CELL, FIRST_LIMIT, tonumber(ARGV[2]), now_high, now_low)

if ARGV[4] ~= '' then
  local facts = redis.call('HMGET', ACCOUNT, 'v', 's', 'f')
  if facts[3] and facts[3] ~= '1' then
    return redis.error_reply('TGFORMAT ' .. facts[3])
  end
  local token = redis.call('HGET', TOKENS, ARGV[5])
  if number(ARGV[4], 1) ~= revision_of(facts[1], token) then
    return answer_with('C', '0', reply_of({ facts[1] or '', facts[2] or '', token or '' }), raw)
  end
end
if refused_requests then
  return answer_with('L', '0', '', raw)
end
if refused_executions then
  return answer_with('E', '0', '', raw)
end
local reply = answer_with('A', '0', '', raw)
if put_cells(following, true) and ARGV[1] ~= '0' then
  redis.call('SET', NONCE, reply, 'PX', ARGV[1])
end
return reply
