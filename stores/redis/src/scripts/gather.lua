-- What the limits of a request say, in their order: the cells that they were read from, the cells to
-- write, and whether an enforced one refuses, of those that count requests and of those that count executions.
local function gather(first_cell, first_limit, now, now_high, now_low)
  local raw, following = {}, {}
  local refused_requests, refused_executions = false, false
  local cell = first_cell
  for place = first_limit, #ARGV do
    local limit = ARGV[place]
    local elsewhere = limit:byte(4)
    local passes = elsewhere == 112
    if elsewhere == 45 then
      local stored = redis.call('GET', KEYS[cell]) or ''
      local next_cell, rest
      passes, next_cell, rest = check_cell(limit, stored, now, now_high, now_low)
      raw[#raw + 1] = stored
      if next_cell then
        following[#following + 1] = { KEYS[cell], next_cell, rest, limit:byte(2) == 114 }
      end
      cell = cell + 1
    end
    if not passes and limit:byte(3) == 48 then
      if limit:byte(2) == 114 then
        refused_requests = true
      else
        refused_executions = true
      end
    end
  end
  return raw, following, refused_requests, refused_executions
end

-- Writes the cells of all limits, or of those that count requests; gives whether there were any.
local function put_cells(following, all)
  local wrote = false
  for _, one in ipairs(following) do
    if all or one[4] then
      put_cell(one[1], one[2], one[3])
      wrote = true
    end
  end
  return wrote
end

local function answer_with(verdict, shadow_cap, extra, raw)
  local parts = { verdict, shadow_cap, extra }
  for place, stored in ipairs(raw) do
    parts[place + 3] = stored
  end
  return reply_of(parts)
end
