-- withdraw(step): whatever of it is under way counts for nothing any more. The process of a running attempt is ended by
-- its worker, what the attempt holds is free.
local function withdraw(step)
  local f = redis.call('HMGET', step_key(step), 'state', 'token', 'lanes', 'leased', 'asking')
  if f[1] == 'running' then redis.call('HSET', step_key(step), 'taken', f[2]) end
  not_due('lease:' .. step, 'timeout:' .. step, 'idle:' .. step, 'queued:' .. step, 'schedule:' .. step,
    'retry:' .. step)
  for at = #RELEASED, 1, -1 do -- by this script: the end of another one has released it
    if RELEASED[at] == step then table.remove(RELEASED, at) end
  end
  if f[3] then drop_lanes(step, f[3]) end
  unpin(step)
  free_locks(step)
  end_lease(step, f[4], f[5])
end
