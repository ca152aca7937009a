-- lay_over(give, step, field, text, version): a field of a branch, over what was given of it before. Where that is not what
-- the writer started from, because the main line went on or another branch has it too, its base is given first, as the
-- version -1, and the reader merges.
local covered = {}

local HELD = {} -- A.held: hashes of values that the reader has; it gets the hash again, behind the byte 2
for _, hash in ipairs(A.held or {}) do HELD[hash] = '\2' .. hash end
local function packed_of(hash) return HELD[hash] or hash ~= NONE and redis.call('HGET', BLOBS, hash) or '' end

local function lay_over(give, step, field, text, version)
  local _, base, hash = branched(text)
  if not hash or hash == NONE or absorbed(step, field, version) then return end
  local _, below = value_at(field, version)
  if not own(step, field) and (covered[field] or below ~= base) then give(field, -1, packed_of(base), '') end
  covered[field] = true
  give(field, 0, packed_of(hash), '')
end
