-- A waiter's patience is over. A: section, id (of the request).
-- -> {'ok', token, waited (ms)} when its turn had come in the meantime, else {'busy', holders as JSON}
local lock, queue = load_lock(A.section), {}
for _, entry in ipairs(lock.queue) do
  if entry.id ~= A.id then queue[#queue + 1] = entry end
end
lock.queue = queue
settle_lock(A.section, lock)
redis.call('DEL', P .. ':wake:' .. A.id)
for _, entry in ipairs(lock.held) do
  if entry.id == A.id then return {'ok', entry.token, entry.waited} end
end
return {'busy', cjson.encode(lock.held)}
