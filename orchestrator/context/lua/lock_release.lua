-- The holder gives its lock back, or a waiter its place in the queue. A: section, id (of the request).
-- -> {'ok'}, or {'lost'} when it had neither any more
local lock, reply = load_lock(A.section), {'lost'}
for _, entries in pairs(lock) do
  for at, entry in ipairs(entries) do
    if entry.id == A.id then
      table.remove(entries, at)
      reply = {'ok'}
      break
    end
  end
end
settle_lock(A.section, lock)
return reply
