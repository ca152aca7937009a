-- extend_locks(steps, lease): the locks that these steps hold live on with their attempts. lease in seconds.
-- A lease that is over stays over: its holder learns of it at its next write, and the next waiter is granted.
local function extend_locks(steps, lease)
  if redis.call('EXISTS', LOCKS) == 0 then return end
  local mine = {}
  for _, step in ipairs(steps) do mine[step] = true end
  for _, section in ipairs(redis.call('HKEYS', LOCKS)) do
    if section ~= '#' then
      local lock = load_lock(section)
      for _, entry in ipairs(lock.held) do
        if mine[entry.step] then entry.ends = math.max(entry.ends, MS + math.floor(lease * 1000)) end
      end
      settle_lock(section, lock)
    end
  end
end
