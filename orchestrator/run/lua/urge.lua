-- Steps have other priorities from now on. A: priorities: step -> priority. One that is queued keeps its own: it says in
-- which list its message is. -> those that have changed
local changed = {}
for step, priority in pairs(A.priorities) do
  local state, def = redis.call('HGET', step_key(step), 'state'), redis.call('HGET', DEFS, step)
  if state == 'pending' or state == 'ready' then
    redis.call('HSET', DEFS, step, (string.gsub(def, '"priority":%d+', '"priority":' .. priority, 1)))
    changed[#changed + 1] = step
  end
end
return changed
