-- An open conflict is decided. A: id, author. Payload as in payload.lua: the field with its new value and the version
-- that was looked at, and the conflict's record. When it was the last open one, the run goes on.
-- -> {'refused', why}, {'conflict', clashes} or reply(run state)
local f = redis.call('HMGET', META, 'state', 'finished_at')
if not f[1] or f[2] then return {'refused', f[1] or 'unknown'} end
if redis.call('HEXISTS', OPEN, A.id) == 0 then return {'refused', 'resolved'} end
local found = clashes()
if #found > 0 then return {'conflict', found} end
redis.call('HDEL', OPEN, A.id)
not_due('conflict:' .. A.id)
commit(A.author, 0)
keep_marks()
event('conflict', A.id, 'resolved')
if f[1] == 'awaiting_input' and redis.call('HLEN', OPEN) == 0 then
  move_run('running')
  event('run', '', 'running')
  for _, node in ipairs(redis.call('HKEYS', DEFS)) do
    if redis.call('HGET', step_key(node), 'state') == 'ready' then make_ready(node) end
  end
end
return reply(close_run())
