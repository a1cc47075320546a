local NONCE = KEYS[6]
local MOST_DUE = 200

local now = tonumber(ARGV[2])
local id, finish, by = ARGV[3], ARGV[4], ARGV[8]
local response = ARGV[6] == '1' and ARGV[7] or nil
local unrecorded = ARGV[9]

local repeated = redis.call('GET', NONCE)
if repeated then
  return repeated
end
if by == 'o' then
  if redis.call('HEXISTS', ACCOUNT, 'n') == 0 then
    return reply_of({ 'R', 'a' })
  end
  if finish == 'u' then
    return reply_of({ 'R', 'n' })
  end
end
local _, more = expire(now, MOST_DUE)
if more then
  return reply_of({ 'M', '' })
end

local record = redis.call('HGET', RESERVATIONS, id)
if not record then
  return reply_of({ 'R', 'u' })
end
local high, low = u64(record, 5)
local posted_high, posted_low = u64(record, 13)
local has_claim = record:byte(4) == 49
local claim_key = record:sub(85, 116)
local claim = has_claim and redis.call('HGET', CLAIMS, claim_key) or nil
local mine = claim ~= nil and claim:sub(33, 40) == id
local stored = nil
if claim and claim:byte(57) == 49 then
  stored = claim:sub(58)
end

local function done(reply)
  if ARGV[1] ~= '0' then
    redis.call('SET', NONCE, reply, 'PX', ARGV[1])
  end
  return reply
end

-- Writes a claim with its answer; without one the key is free again.
local function complete(answered)
  if answered then
    redis.call('HSET', CLAIMS, claim_key, claim:sub(1, 56) .. '1' .. answered)
  else
    redis.call('HDEL', CLAIMS, claim_key)
    redis.call('ZREM', DUE, 'c' .. claim_key)
  end
end

local function given_amount()
  if ARGV[5] == '' then
    return high, low
  end
  return u64(ARGV[5], 1)
end

local state, by_expiry = record:byte(1), record:byte(2) == 49
if state == 104 then
  local fenced_off = has_claim and not mine
  if fenced_off and by == 'h' then
    return reply_of({ 'R', 's' })
  end
  if finish == 'u' then
    return reply_of({ 'S', '' })
  end
  local answered = response
  posted_high, posted_low = 0, 0
  local final = 'v'
  if finish == 's' then
    posted_high, posted_low = given_amount()
    if less(high, low, posted_high, posted_low) then
      return reply_of({ 'R', 'm' })
    end
    final = 'p'
    answered = response or unrecorded
  end
  if claim and not fenced_off then
    complete(answered)
  end
  close(id, record, final, '0', posted_high, posted_low, now)
  return done(reply_of({ 'S', bytes(posted_high, posted_low) }))
end

if by_expiry and by == 'o' then
  local answered
  if state == 118 and finish == 'v' then
    answered = response
  elseif state == 112 and finish == 's'
    and (ARGV[5] == '' or ARGV[5] == bytes(posted_high, posted_low)) then
    answered = response or unrecorded
  else
    return reply_of({ 'R', 'l' })
  end
  if mine then
    if not stored then
      complete(answered)
    elseif response and response ~= stored then
      return reply_of({ 'R', 'f' })
    end
  end
  return done(reply_of({ 'S', bytes(posted_high, posted_low) }))
end

if by_expiry then
  return reply_of({ 'R', 'l' })
end
local same = state == 118 and finish == 'v'
if state == 112 and finish == 's' then
  local given_high, given_low = given_amount()
  same = given_high == posted_high and given_low == posted_low
end
local known = mine and stored or nil
if response and known then
  same = same and response == known
elseif response then
  same = same and not has_claim
end
if same then
  return reply_of({ 'S', bytes(posted_high, posted_low) })
end
return reply_of({ 'R', 'f' })
