-- snapshot(step, wanted) -> the version that an attempt reads to its end, and those of the wanted branches which the
-- main line does not have yet. unpin(step): nobody reads at that version any more; what it published is withdrawn.
local function snapshot(step, wanted)
  local version, seen = newest(), {}
  redis.call('ZADD', PINS, version, step)
  for _, name in ipairs(wanted or {}) do
    if unmerged(name) then seen[#seen + 1] = name end
  end
  return version, seen
end

local function unpin(step)
  redis.call('ZREM', PINS, step)
  redis.call('DEL', P .. ':ctx:d:' .. step)
end
