-- What priorities are judged by. A: again (s), until somebody looks anew. -> {state of the run, now, {node, state,
-- started at, definition, who waits for it, carried}, ...}
local found = {redis.call('HGET', META, 'state') or '', STAMP}
if redis.call('ZSCORE', DUE, 'pace:') then due_at('pace:', A.again) end
for _, node in ipairs(redis.call('HKEYS', DEFS)) do
  local f = redis.call('HMGET', step_key(node), 'state', 'started_at', 'carried')
  found[#found + 1] = {node, f[1] or '', f[2] or '', redis.call('HGET', DEFS, node), redis.call('HGET', EDGES, node) or '',
    f[3] or ''}
end
return found
