-- lock_check(section, token) -> whether the write lock that was granted with this fencing token still holds.
-- Part of the script that writes: a check in a script of its own would be over before the write.
local function lock_check(section, token)
  for _, entry in ipairs(load_lock(section).held) do
    if entry.write and entry.token == token then return true end
  end
  return false
end
-- lost_lock(locks) -> the first section whose token in `locks` does not hold any more, or nil
local function lost_lock(locks)
  for section, token in pairs(locks or {}) do
    if not lock_check(section, token) then return section end
  end
end
