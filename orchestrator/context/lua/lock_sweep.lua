-- Locks of dead holders go to the next in their queues. -> how many holders were dead
local dead = 0
for _, section in ipairs(redis.call('HKEYS', LOCKS)) do
  if section ~= '#' then
    local stored = cjson.decode(redis.call('HGET', LOCKS, section))
    local lock = load_lock(section)
    dead = dead + #stored.held - #lock.held
    not_due('lock:' .. section)
    settle_lock(section, lock)
  end
end
return dead
