-- A worker's main process says which attempts it still runs. A: owner, lease (s), steps (of the messages it was given).
-- -> {step, pid of the child that made its last attempt} for each whose lease is kept or that child has ended by itself,
-- {step, 0} for each whose attempt was taken from this worker, {step, -1} for each whose last attempt is another
-- worker's. 'queued' is never among them: the worker may have accepted the message and not claimed it yet.
local found, held = {}, {}

local function whose(step)
  local f = redis.call('HMGET', step_key(step), 'state', 'owner', 'token', 'taken', 'pid', 'onward', 'onward_token')
  if not f[3] or f[1] == 'queued' then return end
  if f[2] ~= A.owner then
    if f[3] == f[4] then return 0 end
    return f[2] and f[2] ~= '' and -1 or nil -- a mapped step runs without a process
  end
  local node, token, pid = step, f[3], tonumber(f[5])
  if f[6] and f[7] then -- the child has gone on to that attempt, of which it has no message
    node, token = f[6], f[7]
    f = redis.call('HMGET', step_key(node), 'state', 'owner', 'token', 'taken')
  end
  if f[1] == 'running' and f[3] == token then
    due_at('lease:' .. node, A.lease)
    held[#held + 1] = node
  elseif tonumber(f[4] or 0) >= tonumber(token) then
    return 0
  end
  return pid
end

for _, step in ipairs(A.steps) do
  local pid = whose(step)
  if pid then found[#found + 1] = {step, pid} end
end
extend_locks(held, A.lease)
return found
