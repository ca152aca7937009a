-- Append to the newest durations of agents. KEYS[1]: a hash, name -> durations, the oldest first, with blanks between.
-- ARGV: how many are kept of each name, seconds until all is forgotten unless something comes, then name, durations ...
-- -> nothing
local keep = tonumber(ARGV[1])
for at = 3, #ARGV, 2 do
  local all = {}
  local before = redis.call('HGET', KEYS[1], ARGV[at]) or ''
  for value in string.gmatch(before .. ' ' .. ARGV[at + 1], '%S+') do all[#all + 1] = value end
  redis.call('HSET', KEYS[1], ARGV[at], table.concat(all, ' ', math.max(1, #all - keep + 1)))
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
