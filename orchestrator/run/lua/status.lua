-- A run as it stands. A: meta, step, barrier (field names). -> {meta values, {definition, values of that node}, ...}, for
-- each step and each barrier
local found = {redis.call('HMGET', META, unpack(A.meta))}
local defs = redis.call('HGETALL', DEFS)
for i = 1, #defs, 2 do
  local kind = string.sub(defs[i], 1, 1)
  if kind ~= '^' and not is_lane(defs[i]) then
    found[#found + 1] = {defs[i + 1], redis.call('HMGET', step_key(defs[i]), unpack(kind == '@' and A.barrier or A.step))}
  end
end
return found
