local SENDERS, NONCE, TOKENS = KEYS[6], KEYS[7], KEYS[8]
local FIRST_CELL = 9
local FIRST_LIMIT = 20
local MOST_DUE = 200

local now = tonumber(ARGV[2])
local now_high, now_low = u64(ARGV[3], 1)
local digest = ARGV[5]
local day, month = tonumber(ARGV[6]), tonumber(ARGV[7])
local key_kind, claim_key, fingerprint = ARGV[8], ARGV[9], ARGV[10]
local charge = ARGV[16]

local shadow_cap = '0'

local repeated = redis.call('GET', NONCE)
if repeated then
  if repeated:byte(5) == 80 then
    local claim = redis.call('HGET', CLAIMS, claim_key)
    -- The key may have come free since, and be another request's by now.
    if not claim or claim:sub(1, 32) ~= fingerprint or claim:byte(57) ~= 49 then
      return redis.error_reply('ERR the answer to be replayed is gone; ask again')
    end
    return repeated:sub(1, 10) .. reply_of({ claim:sub(58) }) .. repeated:sub(11)
  end
  return repeated
end

local raw, following, refused_requests, refused_executions =
  gather(FIRST_CELL, FIRST_LIMIT, now, now_high, now_low)
refused_executions = refused_executions or ARGV[15] == '1'

local function answer(verdict, extra)
  return answer_with(verdict, shadow_cap, extra, raw)
end

-- Keeps the answer for a while: a request that is sent again, because the connection broke, is
-- answered from it.
local function remember(reply)
  if ARGV[1] ~= '0' then
    redis.call('SET', NONCE, reply, 'PX', ARGV[1])
  end
end

local facts = redis.call('HMGET', ACCOUNT, 'n', 'v', 's', 'k')
local exists = facts[1]
if ARGV[4] ~= '' then
  local token = redis.call('HGET', TOKENS, digest)
  if number(ARGV[4], 1) ~= revision_of(facts[2], token) then
    return answer('C', reply_of({ facts[2] or '', facts[3] or '', token or '' }))
  end
end

local has_key = key_kind == 'k'
if has_key or charge ~= '' then
  local _, more = expire(now, MOST_DUE)
  if more then
    return answer('M', '')
  end
end
if refused_requests then
  return answer('L', '')
end

-- Counts what a request consumes that is not let through.
local function refuse(verdict, extra)
  local reply = answer(verdict, extra)
  local wrote = put_cells(following, false)
  if verdict == 'P' then
    -- The stored answer may be large: it is not kept twice.
    if wrote then
      remember(reply_of({ 'P', shadow_cap }) .. reply_of(raw))
    end
    return reply
  end
  if wrote then
    remember(reply)
  end
  return reply
end

if key_kind == 'i' then
  return refuse('I', '')
end
if has_key then
  local claim = redis.call('HGET', CLAIMS, claim_key)
  if claim and number(claim, 49) > now then
    local answered = claim:byte(57) == 49
    local orphaned = ARGV[11] == '1' and number(claim, 41) <= now
    if claim:sub(1, 32) ~= fingerprint then
      return refuse('F', '')
    elseif answered then
      return refuse('P', claim:sub(58))
    elseif not orphaned then
      return refuse('B', '')
    end
  end
end
if ARGV[13] ~= '' and redis.call('SISMEMBER', SENDERS, ARGV[13]:sub(2)) == 0 then
  return refuse('S', '')
end
if ARGV[14] == '1' then
  return refuse('V', '')
end
if refused_executions then
  return answer('E', '')
end

local function within(record, at, per)
  if per == 51 then
    return record[at + 6], record[at + 7]
  end
  if per == 49 and day <= record[at] then
    return record[at + 1], record[at + 2]
  end
  if per == 50 and month <= record[at + 3] then
    return record[at + 4], record[at + 5]
  end
  return 0, 0
end

-- Counts a charge as spent; `false` when a sum does not fit.
local function spend_more(record, at, high, low)
  local day_high, day_low, day_over = add(high, low, within(record, at, 49))
  local month_high, month_low, month_over = add(high, low, within(record, at, 50))
  local ever_high, ever_low, ever_over = add(high, low, within(record, at, 51))
  if day_over or month_over or ever_over then
    return false
  end
  record[at] = math.max(record[at], day)
  record[at + 1], record[at + 2] = day_high, day_low
  record[at + 3] = math.max(record[at + 3], month)
  record[at + 4], record[at + 5] = month_high, month_low
  record[at + 6], record[at + 7] = ever_high, ever_low
  return true
end

-- The first cap that a charge would exceed, as the answer shows it. A cap: period, shadow, amount.
local function exceeded(holder, caps, record, at, high, low)
  for place = 1, #caps, 10 do
    local per = caps:byte(place)
    local cap_high, cap_low = u64(caps, place + 2)
    local left_high, left_low = sub(cap_high, cap_low, within(record, at, per))
    if less(left_high, left_low, high, low) then
      if caps:byte(place + 1) == 48 then
        return holder .. string.char(per) .. bytes(left_high, left_low)
      end
      shadow_cap = '1'
    end
  end
  return nil
end

local high, low = 0, 0
local spends_as = digest
local spend
if charge ~= '' then
  high, low = u64(charge, 1)
  spends_as = ARGV[19]
  load_wallet()
  spend = load_spend(spends_as)
  local denied = exceeded('t', ARGV[17], spend, 1, high, low)
    or exceeded('a', facts[4] or '', wallet, SPEND, high, low)
  if denied then
    return refuse('X', denied)
  end
  local free_high, free_low = sub(wallet[BALANCE], wallet[BALANCE + 1], wallet[HELD], wallet[HELD + 1])
  local _, _, held_over = add(wallet[HELD], wallet[HELD + 1], high, low)
  if held_over or less(free_high, free_low, high, low) then
    return refuse('W', bytes(free_high, free_low))
  end
  if not (spend_more(wallet, SPEND, high, low) and spend_more(spend, 1, high, low)) then
    local ever_high, ever_low = u64(redis.call('HGET', ACCOUNT, 'w') or string.rep('\0', 88), 81)
    local left_high, left_low = sub(MOST, MOST, ever_high, ever_low)
    return refuse('X', 'a3' .. bytes(left_high, left_low))
  end
end

-- Every check has passed, and from here on nothing fails.
local id = ''
if has_key or charge ~= '' then
  load_wallet()
  grow(wallet, SEQUENCE, 0, 1)
  id = bytes(wallet[SEQUENCE], wallet[SEQUENCE + 1])
end
local reply = answer('A', id)
local wrote = put_cells(following, true)
if id ~= '' and exists then
  local counted = string.rep('\0', 16)
  if charge ~= '' then
    grow(wallet, HELD, high, low)
    grow(wallet, OPEN, 0, 1)
    save_spend(spends_as, spend)
    counted = struct.pack('>I4I4I4I4', wallet[SPEND], wallet[SPEND + 3], spend[1], spend[4])
  end
  save_wallet()
  local lease = ARGV[18]:sub(2, 9)
  if has_key then
    redis.call('HSET', CLAIMS, claim_key, fingerprint .. id .. lease .. ARGV[12] .. '0')
    put_due('c' .. claim_key, number(ARGV[12], 1))
  end
  local record = 'h0' .. ARGV[18]:sub(1, 1) .. (has_key and '1' or '0') .. bytes(high, low)
    .. string.rep('\0', 8) .. ARGV[18]:sub(2, 17) .. counted .. spends_as
    .. (has_key and claim_key or string.rep('\0', 32)) .. '\0\0\0\0'
  redis.call('HSET', RESERVATIONS, id, record)
  -- Without money a late outcome harms nobody: it is taken for as long as the key is kept.
  if has_key and high == 0 and low == 0 then
    put_due('r' .. id, number(ARGV[12], 1))
  else
    put_due('r' .. id, number(lease, 1))
  end
end
if id ~= '' or wrote then
  remember(reply)
end
return reply
