-- Keep lines that an attempt logged, and tell those who follow them how many there were so far. A: step, limit (bytes).
-- ARGV[2...]: lines as JSON. -> bytes kept
local log, said, sk = P .. ':log:' .. A.step, P .. ':said', step_key(A.step)
if redis.call('EXISTS', META) == 0 then return 0 end
local f = redis.call('HMGET', sk, 'log_bytes', 'log_lines')
local bytes, count = tonumber(f[1] or 0), tonumber(f[2] or 0) + #ARGV - 1
for i = 2, #ARGV do
  redis.call('RPUSH', log, ARGV[i])
  bytes = bytes + #ARGV[i]
end
while bytes > A.limit do
  local line = redis.call('LPOP', log)
  if not line then break end
  bytes = bytes - #line
end
redis.call('HSET', sk, 'log_bytes', bytes, 'log_lines', count)
redis.call('XADD', said, 'MAXLEN', '~', 100, '*', 't', 'log', 'n', A.step, 's', count, 'at', STAMP)
local keep = redis.call('TTL', META)
if keep > 0 then for _, key in ipairs({log, said}) do redis.call('EXPIRE', key, keep) end end
return bytes
