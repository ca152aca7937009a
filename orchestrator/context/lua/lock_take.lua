-- The short way to a lock that nobody holds or waits for, ahead of everything else: no JSON is read.
-- ARGV[2...]: section, step, attempt, lease (ms), now (s, or '' for the server's clock). Replies as lock_acquire.
local free = redis.call('HGET', KEYS[1] .. ':locks', ARGV[2])
if not free or tonumber(free) then
  local f = redis.call('HMGET', KEYS[1] .. ':s:' .. ARGV[3], 'state', 'token')
  if f[1] == 'running' and f[2] == ARGV[4] then
    local t = ARGV[6] == '' and redis.call('TIME')
    local ms = math.floor(t and t[1] * 1000 + t[2] / 1000 or ARGV[6] * 1000)
    local token = (free or 0) + 1
    redis.call('HSET', KEYS[1] .. ':locks', ARGV[2], string.format('{"token":%d,"queue":{},"held":[%s,"token":%d,' ..
      '"ends":%.0f,"since":%.0f,"waited":0}]}', token, string.sub(ARGV[1], 1, -2), token, ms + ARGV[5], ms))
    return {'ok', token, 0}
  end
end
