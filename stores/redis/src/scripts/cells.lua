-- Limiter cells: `g` and a time, `f` start and units, `s` length, number and 17 counts.
-- A limit: algorithm, what it counts, shadow, what was said elsewhere, special case; then numbers.
local HOUR_MS = 3600000
local LONGEST_MS = 100000000000000
local COUNTERS = 17
local MOST = LIMB - 1

local function check_gcra(limit, stored, now_high, now_low)
  local cost_high, cost_low = u64(limit, 6)
  local most_high, most_low = u64(limit, 14)
  local high, low = 0, 0
  if #stored == 9 and stored:byte(1) == 103 then
    high, low = u64(stored, 2)
  end
  if less(high, low, now_high, now_low) then
    high, low = now_high, now_low
  end
  local too_large
  high, low, too_large = add(high, low, cost_high, cost_low)
  local ahead_high, ahead_low = sub(high, low, now_high, now_low)
  if too_large or less(most_high, most_low, ahead_high, ahead_low) then
    return false
  end
  return true, 'g' .. bytes(high, low), (ahead_high * LIMB + ahead_low) / 1000000
end

local function check_fixed(limit, stored, now)
  local window = number(limit, 6)
  local most_high, most_low = u64(limit, 14)
  local cost_high, cost_low = u64(limit, 22)
  local start, high, low = now - now % window, 0, 0
  if #stored == 17 and stored:byte(1) == 102 then
    local own = number(stored, 2)
    local used_high, used_low = u64(stored, 10)
    own = own - own % window
    if (used_high > 0 or used_low > 0) and own >= start then
      start, high, low = own, used_high, used_low
    end
  end
  local left_high, left_low = sub(most_high, most_low, high, low)
  if less(left_high, left_low, cost_high, cost_low) then
    return false
  end
  high, low = add(high, low, cost_high, cost_low)
  return true, 'f' .. number_bytes(start) .. bytes(high, low), start + window - now
end

local function read_sliding(stored, part, present)
  local counts, sum = {}, 0
  for place = 1, COUNTERS do
    counts[place] = 0
  end
  if #stored ~= 85 or stored:byte(1) ~= 115 then
    return present, counts
  end
  local own, newest = number(stored, 2), number(stored, 10)
  local read = { struct.unpack('>' .. string.rep('I4', COUNTERS), stored, 18) }
  for place = 1, COUNTERS do
    sum = sum + read[place]
  end
  if sum == 0 then
    return present, counts
  end
  if own ~= part then
    newest = math.floor(((newest + 1) * own - 1) / part)
    for place = 2, COUNTERS do
      read[place] = 0
    end
    read[1] = math.min(sum, MOST)
  end
  local by = math.max(present - newest, 0)
  for place = 1, COUNTERS - by do
    counts[place + by] = read[place]
  end
  return newest + by, counts
end

local function check_sliding(limit, stored, now)
  local window, part = number(limit, 6), number(limit, 14)
  local most = number(limit, 22)
  local cost_high, cost = u64(limit, 30)
  local newest, counts = read_sliding(stored, part, math.floor(now / part))
  local at = math.max(now, newest * part)
  local used = 0
  for place = 1, COUNTERS do
    local leaves = (math.max(newest - place + 1, 0) + 1) * part - 1 + window
    if leaves > at then
      used = used + counts[place]
    end
  end
  if cost_high > 0 or cost > math.max(most - used, 0) then
    return false
  end
  counts[1] = math.min(counts[1] + cost, MOST)
  local cell = 's' .. number_bytes(part) .. number_bytes(newest)
    .. struct.pack('>' .. string.rep('I4', COUNTERS), unpack(counts))
  return true, cell, (newest + 1) * part - 1 + window - now
end

-- What was not written by a script ends it, before anything is written.
local LENGTHS = { [103] = 9, [102] = 17, [115] = 85 }
local function assert_cell(stored)
  if stored ~= '' and LENGTHS[stored:byte(1)] ~= #stored then
    error('a limit in the store is damaged')
  end
end

-- Whether a limit lets a request in; then its next cell, and in how many milliseconds that one says
-- nothing any more. Without a cell there is nothing to count.
local function check_cell(limit, stored, now, now_high, now_low)
  assert_cell(stored)
  local special = limit:byte(5)
  if special == 48 then
    return true
  end
  if special == 120 then
    return false
  end
  local algorithm = limit:byte(1)
  if algorithm == 103 then
    return check_gcra(limit, stored, now_high, now_low)
  end
  if algorithm == 102 then
    return check_fixed(limit, stored, now)
  end
  return check_sliding(limit, stored, now)
end

-- Cells are removed by age only to free memory, and long after they say nothing any more: clocks of
-- callers differ from each other's and from the server's.
local function put_cell(key, cell, rest)
  local kept = math.min(math.floor(2 * math.max(rest, 0)) + HOUR_MS, LONGEST_MS)
  redis.call('SET', key, cell, 'PX', text(kept))
end
