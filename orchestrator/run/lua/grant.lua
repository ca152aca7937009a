-- Steps have the leases on pools that they asked for: they are queued. A: grants: {step, number of the asking}. One whose
-- asking is over does not take its lease: it is among those that are over. -> {'refused', 'unknown'} or reply(run state)
local state = state_of_run()
if not state then return {'refused', 'unknown'} end
for _, one in ipairs(A.grants) do
  local sk = step_key(one[1])
  local f = redis.call('HMGET', sk, 'state', 'asking', 'leased')
  local going = state ~= 'paused' and state ~= 'awaiting_input' and f[1] == 'ready'
  if tonumber(f[2] or 0) == one[2] and going then
    redis.call('HSET', sk, 'leased', one[2])
    redis.call('HDEL', sk, 'asking')
    not_due('pool:' .. one[1])
    make_ready(one[1])
  elseif tonumber(f[2] or 0) == one[2] then
    end_lease(one[1], nil, f[2])
  elseif tonumber(f[3] or 0) ~= one[2] then
    FREED[#FREED + 1] = one
  end
end
return reply(state)
