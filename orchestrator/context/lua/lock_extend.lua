-- extend_locks(steps, lease): the locks that these steps hold live on with their attempts. lease in seconds.
-- A lease that is over stays over: its holder learns of it at its next write, and the next waiter is granted.
local function extend_locks(steps, lease)
  local mine = {}
  for _, step in ipairs(steps) do mine[step] = true end
  for section, lock in pairs(taken()) do
    for _, entry in ipairs(lock.held) do
      if mine[entry.step] and entry.ends then
        entry.ends = math.max(entry.ends, MS + math.floor(lease * 1000))
      end
    end
    settle_lock(section)
  end
  store_locks()
end
