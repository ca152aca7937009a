-- A worker's main process says which attempts it still runs. A: owner, lease (s), steps.
-- -> the steps whose attempt is over for this worker although it did not end it itself: taken by a sweep, or running
-- elsewhere. 'queued' is never among them: the worker may have accepted the message and not claimed it yet.
local gone = {}
for _, step in ipairs(A.steps) do
  local f = redis.call('HMGET', step_key(step), 'state', 'owner', 'token', 'taken')
  if f[1] == 'running' and f[2] == A.owner then
    due_at('lease:' .. step, A.lease)
  elseif f[1] == 'running' or (f[1] ~= 'queued' and f[3] and f[3] == f[4]) then
    gone[#gone + 1] = step
  end
end
return gone
