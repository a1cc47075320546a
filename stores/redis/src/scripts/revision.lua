-- The revision of a token's credential: of its own record or of the account's settings, whichever is
-- later.
local function revision_of(settings_revision, token_record)
  local own = token_record and number(token_record, 1) or 0
  local common = settings_revision and number(settings_revision, 1) or 0
  return math.max(own, common)
end
