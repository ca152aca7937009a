-- An attempt asks for the lock of a section. A: section, id (of the request), step, attempt, owner, write, priority,
-- most (holders of its kind at a time), lease (ms), wait (ms; 0: not at all); group: the one it is a member of; under:
-- that, when the group holds this section. Asking again with that id is harmless.
-- -> {'ok', token, waited (ms)}, {'wait', ms}, {'busy', holders as JSON}, {'twice', mode} or {'lost', step's state}
local f = redis.call('HMGET', step_key(A.step), 'state', 'token')
if f[1] ~= 'running' or tonumber(f[2]) ~= A.attempt then return {'lost', f[1] or 'unknown'} end
local function holds_some()
  for _, lock in pairs(taken()) do
    for _, entry in ipairs(lock.held) do
      if entry.step == A.step or entry.step == A.group then return true end
    end
  end
end
local lock, mine = load_lock(A.section), nil
for _, entries in ipairs({lock.held, lock.queue}) do
  for _, entry in ipairs(entries) do
    if entry.id == A.id then
      mine = entry
    elseif entry.step == A.step and (entry.all or entry.attempt == A.attempt) then
      return {'twice', entry.write and 'write' or 'read'}
    end
  end
end
if not mine then
  mine = {id = A.id, step = A.step, attempt = A.attempt, owner = A.owner, write = A.write, most = A.most,
    priority = A.priority, lease = A.lease, under = A.under, since = MS, ends = MS + A.wait}
  enqueue(A.section, mine, lock.queue[1] and holds_some())
end
settle_lock(A.section)
if not mine.token and A.wait == 0 then late() end
store_locks()
if mine.token then return {'ok', mine.token, mine.waited} end
if A.wait == 0 then return {'busy', cjson.encode(lock.held)} end
return {'wait', mine.ends - MS}
