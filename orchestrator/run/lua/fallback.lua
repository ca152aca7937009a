-- A group did not get through side by side: some of its members run once more, one after another. A: node, again (those
-- steps, in order), seconds (in which all of them have to end; nil: any), pause (s, until an attempt that is taken away
-- has stopped), reason. -> {'refused', state}, {'refused', 'moved'} or reply(run state)
local bk = step_key(A.node)
local f = redis.call('HMGET', bk, 'state', 'fallback_at', 'deadline')
if f[2] or (f[1] ~= 'joined' and f[1] ~= 'pending') then return {'refused', f[1] or 'unknown'} end
local again = {[A.node] = true}
if unseen() then return {'refused', 'moved'} end
for _, step in ipairs(A.again) do again[step] = true end
not_due('joined:' .. A.node, 'barrier:' .. A.node)
redis.call('HDEL', bk, 'header', 'joined_at', 'deadline') -- members that run alone belong to no chord
if A.seconds then set_deadline(A.node, A.seconds) end
redis.call('HSET', bk, 'state', 'pending', 'fallback_at', STAMP, 'turns', table.concat(A.again, ' '), 'alert', A.reason)
due_at('alert:' .. A.node, A.lost or 10)
event('barrier', A.node, 'fallback', '', A.reason, 'action', 'abort_and_fallback', 'deadline', f[3] or '',
  'decided_at', STAMP)
for _, step in ipairs(A.again) do
  if redis.call('HGET', step_key(step), 'state') == 'running' then
    redis.call('HSET', step_key(step), 'free_at', string.format('%.6f', NOW + A.pause))
  end
  reopen(step, function(node) return again[node] end)
end
local queue, at = {}, 1
consider(A.node, queue)
while queue[at] do
  settle(queue[at][1], queue[at][2])
  at = at + 1
end
return reply(state_of_run())
