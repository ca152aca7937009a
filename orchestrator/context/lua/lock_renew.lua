-- A holder that no worker keeps alive renews its lease itself. A: section, id (of the request), lease (ms).
-- -> {'ok'}, or {'lost'} when the lease was over before
local lock, reply = load_lock(A.section), {'lost'}
for _, entry in ipairs(lock.held) do
  if entry.id == A.id then
    entry.ends = MS + A.lease
    reply = {'ok'}
  end
end
settle_lock(A.section)
store_locks()
return reply
