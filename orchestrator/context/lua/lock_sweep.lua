-- Locks of dead holders go to the next in their queues.
-- -> {how many holders were dead, nodes whose declared locks are granted with that}
local dead = 0
for section, lock in pairs(taken()) do
  dead = dead + lock.dead
  not_due('lock:' .. section)
  settle_lock(section)
end
store_locks()
return {dead, ADMITTED}
