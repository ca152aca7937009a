-- The holder gives its lock back, or a waiter its place in the queue. A: section, id (of the request).
-- -> {'ok', nodes whose declared locks are free now}, or {'lost'} when it had neither any more
local lock, found = load_lock(A.section), false
for _, entries in ipairs({lock.held, lock.queue}) do
  for at, entry in ipairs(entries) do
    if entry.id == A.id then
      table.remove(entries, at)
      found = true
      break
    end
  end
end
settle_lock(A.section)
store_locks()
return found and {'ok', ADMITTED} or {'lost'}
