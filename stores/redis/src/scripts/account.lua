-- Records of an account, under these keys:
local ACCOUNT, CLAIMS, RESERVATIONS, SPENT, DUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- The wallet as 22 numbers of 32 bits: balance, held, posted, deposited, refunded, open reservations
-- and sequence are two each; then what was spent.
local WALLET_FORMAT = '>' .. string.rep('I4', 22)
local BALANCE, HELD, POSTED, DEPOSITED, REFUNDED, OPEN, SEQUENCE, SPEND = 1, 3, 5, 7, 9, 11, 13, 15
-- What was spent as 8: day, amount, month, amount, amount ever.
local SPEND_FORMAT = '>' .. string.rep('I4', 8)

local wallet

local function load_wallet()
  if wallet then
    return
  end
  local stored = redis.call('HGET', ACCOUNT, 'w')
  if stored then
    wallet = { struct.unpack(WALLET_FORMAT, stored) }
  else
    wallet = {}
    for place = 1, 22 do
      wallet[place] = 0
    end
  end
end

local function save_wallet()
  redis.call('HSET', ACCOUNT, 'w', struct.pack(WALLET_FORMAT, unpack(wallet, 1, 22)))
end

local function load_spend(token)
  local stored = redis.call('HGET', SPENT, token)
  if stored then
    return { struct.unpack(SPEND_FORMAT, stored) }
  end
  return { 0, 0, 0, 0, 0, 0, 0, 0 }
end

local function save_spend(token, spend)
  redis.call('HSET', SPENT, token, struct.pack(SPEND_FORMAT, unpack(spend, 1, 8)))
end

-- Changes a number of a record to the sum; `false` when it does not fit.
local function grow(record, place, high, low)
  local too_large
  record[place], record[place + 1], too_large = add(record[place], record[place + 1], high, low)
  return not too_large
end

local function shrink(record, place, high, low)
  record[place], record[place + 1] = sub(record[place], record[place + 1], high, low)
end

-- Takes back what was counted in a day and a month: only from periods that still run.
local function take_back(record, at, high, low, day, month)
  if day == record[at] then
    shrink(record, at + 1, high, low)
  end
  if month == record[at + 3] then
    shrink(record, at + 4, high, low)
  end
  shrink(record, at + 6, high, low)
end

local function put_due(member, at)
  if at < NEVER then
    redis.call('ZADD', DUE, text(at), member)
  else
    redis.call('ZREM', DUE, member)
  end
end

-- A reservation: state `h`, `p` or `v`; `1` when the end of its lease made it so; what that end does,
-- `v`, `s` or `h`; `1` with a claim; then amount 5, posted 13, end of lease 21, retention 29, day and month
-- of the account 37, of the token 45, the token 53, the claim's key 85, refunds 117.

-- Writes a reservation that was held and now has its final state; posts what it says, frees the rest.
local function close(id, record, state, by_expiry, posted_high, posted_low, now)
  local high, low = u64(record, 5)
  record = state .. by_expiry .. record:sub(3, 12) .. bytes(posted_high, posted_low) .. record:sub(21)
  if high > 0 or low > 0 then
    local freed_high, freed_low = sub(high, low, posted_high, posted_low)
    local day, month, token_day, token_month = struct.unpack('>I4I4I4I4', record, 37)
    local token = record:sub(53, 84)
    load_wallet()
    shrink(wallet, HELD, high, low)
    shrink(wallet, BALANCE, posted_high, posted_low)
    grow(wallet, POSTED, posted_high, posted_low)
    shrink(wallet, OPEN, 0, 1)
    take_back(wallet, SPEND, freed_high, freed_low, day, month)
    local spend = load_spend(token)
    take_back(spend, 1, freed_high, freed_low, token_day, token_month)
    save_wallet()
    save_spend(token, spend)
  end
  redis.call('HSET', RESERVATIONS, id, record)
  put_due('r' .. id, now + number(record, 29))
end

-- Deals with what fell due until `now`, with at most `most` records at once: a script holds up every
-- other client. Gives how many leases and claims ended, and whether there is more.
local function expire(now, most)
  local ended = 0
  for _ = 1, most do
    local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', text(now), 'LIMIT', 0, 1)[1]
    if not due then
      return ended, false
    end
    local name = due:sub(2)
    local record = due:byte(1) == 114 and redis.call('HGET', RESERVATIONS, name)
    if due:byte(1) == 99 then
      redis.call('HDEL', CLAIMS, name)
      redis.call('ZREM', DUE, due)
      ended = ended + 1
    elseif record and record:byte(1) == 104 and record:sub(5, 12) ~= '\0\0\0\0\0\0\0\0' then
      local rule = record:byte(3)
      ended = ended + 1
      if rule == 104 then
        redis.call('ZREM', DUE, due)
      elseif rule == 115 then
        local high, low = u64(record, 5)
        close(name, record, 'p', '1', high, low, now)
      else
        close(name, record, 'v', '1', 0, 0, now)
      end
    else
      redis.call('HDEL', RESERVATIONS, name)
      redis.call('ZREM', DUE, due)
    end
  end
  return ended, #redis.call('ZRANGEBYSCORE', DUE, '-inf', text(now), 'LIMIT', 0, 1) > 0
end
