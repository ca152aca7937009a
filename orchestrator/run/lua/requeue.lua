-- A step that waited for its next attempt, or whose message was lost, is published (again). A: step, from (state).
-- -> {'refused', state} or reply(run state)
local sk = step_key(A.step)
local state = redis.call('HGET', sk, 'state')
if state ~= A.from then return {'refused', state or 'unknown'} end
not_due('retry:' .. A.step)
A.executed = nil
make_ready(A.step)
return reply(state_of_run())
