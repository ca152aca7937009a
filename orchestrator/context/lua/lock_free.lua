-- free_locks(step): an attempt has ended. What it held goes to the next in the queue; what it waits
-- for, it waits for in vain, and is told so.
local function free_locks(step)
  for _, section in ipairs(redis.call('HKEYS', LOCKS)) do
    if section ~= '#' then
      local lock = load_lock(section)
      for name, entries in pairs(lock) do
        local others = {}
        for _, entry in ipairs(entries) do
          if entry.step ~= step then
            others[#others + 1] = entry
          elseif name == 'queue' then
            wake(entry, 'lost')
          end
        end
        lock[name] = others
      end
      settle_lock(section, lock)
    end
  end
end
