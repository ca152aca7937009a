-- A barrier gives its members more time. A: node, seconds, members, reason, before (how many extensions
-- there were when that was decided; nil: any). -> {'refused', state}, {'refused', 'moved'} or {'ok', extensions}
local bk = step_key(A.node)
local state = redis.call('HGET', bk, 'state')
if state ~= 'pending' then return {'refused', state or 'unknown'} end
if A.before and tonumber(redis.call('HGET', bk, 'extensions') or 0) ~= A.before then return {'refused', 'moved'} end
local count = redis.call('HINCRBY', bk, 'extensions', 1)
redis.call('HSET', bk, 'looked_at', STAMP) -- the next extension has to be earned by progress after this
local deadline = redis.call('HGET', bk, 'deadline') or ''
set_deadline(A.node, A.seconds)
for _, step in ipairs(A.members) do
  local at = redis.call('ZSCORE', DUE, 'timeout:' .. step)
  if at and tonumber(at) < NOW + A.seconds then due_at('timeout:' .. step, A.seconds) end
end
event('barrier', A.node, 'extended', '', A.reason or '', 'action', 'extend_timeout', 'deadline', deadline, 'decided_at',
  STAMP, 'seconds', A.seconds)
return {'ok', count}
