-- What a step has logged behind its first lines. A: step, after (lines). -> {lines logged so far, those that are kept}
local count = tonumber(redis.call('HGET', step_key(A.step), 'log_lines') or 0)
if count <= A.after then return {count, {}} end
return {count, redis.call('LRANGE', P .. ':log:' .. A.step, A.after - count, -1)}
