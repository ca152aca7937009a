-- A worker's main process says which attempts it still runs. A: owner, lease (s), steps.
-- -> the steps that this worker no longer holds: their processes are to be ended
local gone = {}
for _, step in ipairs(A.steps) do
  local f = redis.call('HMGET', step_key(step), 'state', 'owner')
  if f[1] == 'running' and f[2] == A.owner then
    due_at('lease:' .. step, A.lease)
  elseif f[1] ~= 'queued' then
    gone[#gone + 1] = step -- 'queued': accepted by the worker, not yet claimed by its child
  end
end
return gone
