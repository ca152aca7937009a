-- What the members of a group have written into shared sections. A: members, in the order in which they are merged.
-- -> {unmerged members, {{step, its priority, when it committed, field, version of the main line, its author, priority
--     and time, packed values: main line, base, theirs}, ...}}
local steps, rows = {}, {}
local function value(hash) return hash ~= NONE and redis.call('HGET', BLOBS, hash) or '' end
for _, step in ipairs(A.members) do
  if unmerged(step) then
    steps[#steps + 1] = step
    local mine = cjson.decode(redis.call('HGET', DEFS, step)).priority or 0
    local flat = redis.call('HGETALL', branch_key(step))
    for i = 1, #flat, 2 do
      local _, base, theirs = branched(flat[i + 1])
      if theirs and not own(step, flat[i]) then
        local v, hash = parsed(redis.call('HGET', HEAD, flat[i]) or nil)
        local author, priority, at = writer(v)
        rows[#rows + 1] = {step, mine, redis.call('HGET', branch_key(step), '@at'), flat[i], v, author, priority, at,
          value(hash), value(base), value(theirs)}
      end
    end
  end
end
return {steps, rows}
