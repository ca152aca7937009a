-- free_locks(node): an attempt, or a barrier, has ended. What it held goes to the next in the queue; what it waits for,
-- it waits for in vain, and is told so: by settle_free, once for all that end in a script.
-- store_locks(): what has changed is written; the last thing that a script does about locks.
local function free_locks(node) GONE[node] = true end
local function settle_free()
  if not next(GONE) then return end
  local gone, locks = GONE, taken()
  GONE = {}
  for _, lock in pairs(locks) do
    for _, part in ipairs({'held', 'queue'}) do
      local others = {}
      for _, entry in ipairs(lock[part]) do
        if not gone[entry.step] then
          others[#others + 1] = entry
        elseif part == 'queue' and not entry.all then
          wake(entry, 'lost')
        end
      end
      lock[part] = others
    end
  end
  for section in pairs(locks) do settle_lock(section) end
end
local function store_locks()
  settle_free()
  for section, lock in pairs(DIRTY) do write_lock(section, lock) end
  DIRTY = {}
end
