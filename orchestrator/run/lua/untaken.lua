-- An attempt's process is gone. A: step, token. -> how many of the step's attempts do not count, among them this one when
-- it was handed to that process (see handing.lua), which never took it up.
local sk = step_key(A.step)
local f = redis.call('HMGET', sk, 'state', 'token', 'owner', 'pid')
local own = f[1] == 'running' and tonumber(f[2]) == A.token
if own and redis.call('DEL', 'orc:given:' .. f[3] .. ':' .. f[4]) == 1 then redis.call('HINCRBY', sk, 'spent', 1) end
return tonumber(redis.call('HGET', sk, 'spent') or 0)
