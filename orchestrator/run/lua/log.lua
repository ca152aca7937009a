-- Keep lines that an attempt logged. A: step, limit (bytes). ARGV[2...]: lines as JSON. -> bytes kept
local log, sk = P .. ':log:' .. A.step, step_key(A.step)
if redis.call('EXISTS', META) == 0 then return 0 end
local bytes = tonumber(redis.call('HGET', sk, 'log_bytes') or 0)
for i = 2, #ARGV do
  redis.call('RPUSH', log, ARGV[i])
  bytes = bytes + #ARGV[i]
end
while bytes > A.limit do
  local line = redis.call('LPOP', log)
  if not line then break end
  bytes = bytes - #line
end
redis.call('HSET', sk, 'log_bytes', bytes)
local keep = redis.call('TTL', META)
if keep > 0 then redis.call('EXPIRE', log, keep) end
return bytes
