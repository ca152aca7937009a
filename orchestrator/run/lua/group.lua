-- group_of(node) -> a group as it stands, for its barrier's decision: {false} when it is decided or unknown, or
-- {definition, time, extensions, looked_at, deadline, time of its fallback, {member's state, progress_at, reason, when its
-- own timeout ends it, definition, what its branch has that is not merged: '', 'own' namespace or 'shared' sections}, ...}
local function group_of(node)
  local bk = step_key(node)
  local def = redis.call('HEXISTS', bk, 'outcome') == 0 and redis.call('HGET', DEFS, node)
  if not def then return {false} end
  local found = {def, STAMP, unpack(redis.call('HMGET', bk, 'extensions', 'looked_at', 'deadline', 'fallback_at'))}
  for _, step in ipairs(cjson.decode(def).members) do
    local f = redis.call('HMGET', step_key(step), 'state', 'progress_at', 'reason')
    found[#found + 1] = {f[1], f[2] or '', f[3] or '', redis.call('ZSCORE', DUE, 'timeout:' .. step) or '',
      redis.call('HGET', DEFS, step), kind_of_branch(step, redis.call('HGETALL', branch_key(step)))}
  end
  return found
end
