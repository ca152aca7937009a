-- A barrier gives its members more time. A: node, seconds, members. -> {'refused', state} or {'ok', extensions}
local bk = step_key(A.node)
local state = redis.call('HGET', bk, 'state')
if state ~= 'pending' then return {'refused', state or 'unknown'} end
local count = redis.call('HINCRBY', bk, 'extensions', 1)
redis.call('HSET', bk, 'looked_at', STAMP) -- the next extension has to be earned by progress after this
due_at('barrier:' .. A.node, A.seconds)
for _, step in ipairs(A.members) do
  local at = redis.call('ZSCORE', DUE, 'timeout:' .. step)
  if at and tonumber(at) < NOW + A.seconds then due_at('timeout:' .. step, A.seconds) end
end
event('barrier', A.node, 'extended', '', tostring(A.seconds))
return {'ok', count}
