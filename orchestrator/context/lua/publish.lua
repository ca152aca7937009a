-- A running attempt shows what it has so far to steps that want it. A: step, token. ARGV[2...]: field, packed, ...
-- -> {'refused', state} or {'ok'}. It is withdrawn when the attempt ends, however it does.
local f = redis.call('HMGET', step_key(A.step), 'state', 'token')
if f[1] ~= 'running' or tonumber(f[2]) ~= A.token then return {'refused', f[1] or 'unknown'} end
for i = 2, #ARGV, 2 do redis.call('HSET', P .. ':ctx:d:' .. A.step, ARGV[i], ARGV[i + 1]) end
return {'ok'}
