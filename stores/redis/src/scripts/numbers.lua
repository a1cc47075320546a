-- Unsigned 64-bit numbers as two limbs of 32 bits: Lua's numbers are doubles, exact below 2^53.
-- In records they are 8 bytes, the high limb first.
local LIMB = 4294967296
local NEVER = 9007199254740992

local function u64(text, at)
  local high, low = struct.unpack('>I4I4', text, at)
  return high, low
end

local function bytes(high, low)
  return struct.pack('>I4I4', high, low)
end

-- Milliseconds, and what else is compared with them: below 2^53 exact, above it never reached.
local function number(text, at)
  local high, low = u64(text, at)
  return high * LIMB + low
end

local function number_bytes(value)
  return bytes(math.floor(value / LIMB), value % LIMB)
end

local function text(value)
  return string.format('%.0f', value)
end

-- The sum, or the largest number and `true` when it does not fit.
local function add(ah, al, bh, bl)
  local high, low = ah + bh, al + bl
  if low >= LIMB then
    high, low = high + 1, low - LIMB
  end
  if high >= LIMB then
    return LIMB - 1, LIMB - 1, true
  end
  return high, low, false
end

-- The difference, or zero when it would be negative.
local function sub(ah, al, bh, bl)
  local high, low = ah - bh, al - bl
  if low < 0 then
    high, low = high - 1, low + LIMB
  end
  if high < 0 then
    return 0, 0
  end
  return high, low
end

local function less(ah, al, bh, bl)
  return ah < bh or (ah == bh and al < bl)
end

-- A reply: parts with their lengths before them.
local function reply_of(parts)
  local out = {}
  for place, part in ipairs(parts) do
    out[place] = struct.pack('>I4', #part) .. part
  end
  return table.concat(out)
end
