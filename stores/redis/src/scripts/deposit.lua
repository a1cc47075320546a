local NONCE = KEYS[6]

local repeated = redis.call('GET', NONCE)
if repeated then
  return repeated
end
if redis.call('HEXISTS', ACCOUNT, 'n') == 0 then
  return reply_of({ 'R', 'a' })
end
local high, low = u64(ARGV[2], 1)
load_wallet()
if not (grow(wallet, BALANCE, high, low) and grow(wallet, DEPOSITED, high, low)) then
  return reply_of({ 'R', 'w' })
end
save_wallet()
local reply = reply_of({ 'D', '' })
if ARGV[1] ~= '0' then
  redis.call('SET', NONCE, reply, 'PX', ARGV[1])
end
return reply
