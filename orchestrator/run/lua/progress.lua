-- An attempt reports progress. A: step, token, fraction, message.
-- -> {'refused', state} or {'ok', state of the run}
local sk = step_key(A.step)
local f = redis.call('HMGET', sk, 'state', 'token')
if f[1] ~= 'running' or tonumber(f[2]) ~= A.token then return {'refused', f[1] or 'unknown'} end
local spec = cjson.decode(redis.call('HGET', DEFS, A.step))
redis.call('HSET', sk, 'progress', A.fraction, 'message', A.message, 'progress_at', STAMP)
if spec.idle_timeout then due_at('idle:' .. A.step, spec.idle_timeout) end
local barrier = redis.call('HGET', sk, 'barrier')
if barrier then redis.call('HSET', step_key(barrier), 'progress_at', STAMP) end
event('progress', A.step, tostring(A.fraction), f[2], A.message)
return {'ok', redis.call('HGET', META, 'state')}
