local NONCE = KEYS[6]
local MOST_DUE = 200

local now = tonumber(ARGV[2])
local id, reference = ARGV[3], ARGV[5]
local amount_high, amount_low = u64(ARGV[4], 1)

local repeated = redis.call('GET', NONCE)
if repeated then
  return repeated
end
local _, more = expire(now, MOST_DUE)
if more then
  return reply_of({ 'M', '' })
end
local record = redis.call('HGET', RESERVATIONS, id)
if not record then
  return reply_of({ 'R', 'u' })
end
local state = record:byte(1)
if state ~= 104 and state ~= 112 and state ~= 118 or #record < 120 then
  error('a reservation in the store is damaged')
end
if state ~= 112 then
  return reply_of({ 'R', 'p' })
end
local count = struct.unpack('>I4', record, 117)
local total_high, total_low, too_large = amount_high, amount_low, false
local at = 121
for _ = 1, count do
  local length = struct.unpack('>I4', record, at)
  local name = record:sub(at + 4, at + 3 + length)
  local high, low = u64(record, at + 4 + length)
  if name == reference then
    if high == amount_high and low == amount_low then
      return reply_of({ 'D', '' })
    end
    return reply_of({ 'R', 'e' })
  end
  local over
  total_high, total_low, over = add(total_high, total_low, high, low)
  too_large = too_large or over
  at = at + 12 + length
end
if count >= tonumber(ARGV[6]) then
  return reply_of({ 'R', 't' })
end
local posted_high, posted_low = u64(record, 13)
if too_large or less(posted_high, posted_low, total_high, total_low) then
  return reply_of({ 'R', 'o' })
end
load_wallet()
if not (grow(wallet, BALANCE, amount_high, amount_low)
  and grow(wallet, REFUNDED, amount_high, amount_low)) then
  return reply_of({ 'R', 'w' })
end
save_wallet()
redis.call('HSET', RESERVATIONS, id, record:sub(1, 116) .. struct.pack('>I4', count + 1)
  .. record:sub(121) .. struct.pack('>I4', #reference) .. reference .. ARGV[4])
put_due('r' .. id, now + number(record, 29))
local reply = reply_of({ 'D', '' })
if ARGV[1] ~= '0' then
  redis.call('SET', NONCE, reply, 'PX', ARGV[1])
end
return reply
