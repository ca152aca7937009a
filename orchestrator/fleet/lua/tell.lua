-- A worker tells of itself, and hears of the others. KEYS[1]: a hash, worker -> its last word (seconds, a blank, JSON).
-- ARGV: worker, what it tells as JSON (empty: only listens), seconds after which a silent worker is taken out.
-- -> {now, workers that were taken out by this call, worker, when and what it told, ...}
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], string.format('%.3f', now) .. ' ' .. ARGV[2]) end
local lost, rest = {}, {}
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  if now - tonumber(string.match(all[at + 1], '^%S+')) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[at])
    lost[#lost + 1] = all[at]
  else
    rest[#rest + 1] = all[at]
    rest[#rest + 1] = all[at + 1]
  end
end
return {string.format('%.3f', now), lost, unpack(rest)}
