-- A worker's main process says which attempts it still runs. A: owner, lease (s), steps.
-- -> {step, pid of the child that runs its current attempt} for each that this worker holds, and {step, 0} for each
-- whose attempt is over although this worker did not end it: taken by a sweep, or running elsewhere. 'queued' is never
-- among them: the worker may have accepted the message and not claimed it yet. A mapped step runs without a process.
local found, held = {}, {}
for _, step in ipairs(A.steps) do
  local node, f = step, redis.call('HMGET', step_key(step), 'state', 'owner', 'token', 'taken', 'pid', 'onward')
  if f[6] and f[1] ~= 'queued' then -- the process that was given this step's message has gone on to another one
    node, f = f[6], redis.call('HMGET', step_key(f[6]), 'state', 'owner', 'token', 'taken', 'pid')
  end
  if f[1] == 'running' and f[2] == A.owner then
    due_at('lease:' .. node, A.lease)
    found[#found + 1] = {step, tonumber(f[5])}
    held[#held + 1] = node
  elseif (f[1] == 'running' and f[2] ~= '') or (f[1] ~= 'queued' and f[3] and f[3] == f[4]) then
    found[#found + 1] = {step, 0}
  end
end
extend_locks(held, A.lease)
return found
