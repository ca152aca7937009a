-- A run as it stands. A: meta (field names), step (field names). -> {meta values, {definition, step values}, ...}
local found = {redis.call('HMGET', META, unpack(A.meta))}
local defs = redis.call('HGETALL', DEFS)
for i = 1, #defs, 2 do
  if not string.find(defs[i], '^[@^]') then
    found[#found + 1] = {defs[i + 1], redis.call('HMGET', step_key(defs[i]), unpack(A.step))}
  end
end
return found
