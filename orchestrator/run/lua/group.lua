-- A group as it stands, for its barrier's decision. A: node. -> {false} when it is decided or unknown, or
-- {definition, time, extensions, looked_at, {member's state, progress_at, definition}, ...}
local def = redis.call('HGET', DEFS, A.node)
if not def or redis.call('HEXISTS', step_key(A.node), 'outcome') == 1 then return {false} end
local found = {def, STAMP, unpack(redis.call('HMGET', step_key(A.node), 'extensions', 'looked_at'))}
for _, step in ipairs(cjson.decode(def).members) do
  local f = redis.call('HMGET', step_key(step), 'state', 'progress_at')
  found[#found + 1] = {f[1], f[2] or '', redis.call('HGET', DEFS, step)}
end
return found
