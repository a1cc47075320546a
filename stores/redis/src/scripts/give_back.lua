-- Takes units out of a cell again, which were counted by storing `taken` in place of `before`. What others
-- took since stays; if nobody did, the cell is what it was.
local taken, before = ARGV[2], ARGV[4]
local cost_high, cost_low = u64(ARGV[3], 1)

if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
local stored = redis.call('GET', KEYS[1])
if not stored or stored:byte(1) ~= taken:byte(1) then
  return 0
end
local kind = stored:byte(1)
local after
if stored == taken then
  after = before
elseif kind == 103 then
  local high, low = u64(stored, 2)
  after = 'g' .. bytes(sub(high, low, cost_high, cost_low))
elseif kind == 102 then
  if stored:sub(2, 9) ~= taken:sub(2, 9) then
    return 0
  end
  local high, low = u64(stored, 10)
  after = stored:sub(1, 9) .. bytes(sub(high, low, cost_high, cost_low))
else
  local place = number(stored, 10) - number(taken, 10)
  if stored:sub(2, 9) ~= taken:sub(2, 9) or place < 0 or place > 16 then
    return 0
  end
  local at = 18 + 4 * place
  local count = struct.unpack('>I4', stored, at)
  count = math.max(count - (cost_high > 0 and 4294967295 or cost_low), 0)
  after = stored:sub(1, at - 1) .. struct.pack('>I4', count) .. stored:sub(at + 4)
end
if after == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], after, 'KEEPTTL')
end
if ARGV[1] ~= '0' then
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[1])
end
return 1
