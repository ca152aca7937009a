-- A waiter's patience is over. A: as in lock_acquire.
-- -> {'ok', token, waited (ms)} when its turn had come in the meantime, else {'busy', holders as JSON}
local lock, queue, mine = load_lock(A.section), {}, nil
for _, entry in ipairs(lock.queue) do
  if entry.id ~= A.id then queue[#queue + 1] = entry end
end
lock.queue = queue
settle_lock(A.section)
for _, entry in ipairs(lock.held) do
  if entry.id == A.id then mine = entry end
end
if not mine then late() end
store_locks()
redis.call('DEL', P .. ':wake:' .. A.id)
if mine then return {'ok', mine.token, mine.waited} end
return {'busy', cjson.encode(lock.held)}
