-- release_admitted(): steps whose declared locks were granted in this script are queued, of a group all its members.
-- reply(run_state): {run state, definitions of the steps to publish, barriers to judge}. Members of a group that are
-- released together travel as one chord, whose size is kept: a member that is published again belongs to it still.
local function release_admitted()
  settle_free()
  while ADMITTED[1] do
    local node = table.remove(ADMITTED, 1)
    not_due('admit:' .. node)
    local waiting = {node}
    if string.sub(node, 1, 1) == '@' then waiting = cjson.decode(redis.call('HGET', DEFS, node)).members end
    for _, step in ipairs(waiting) do
      if redis.call('HGET', step_key(step), 'state') == 'ready' then make_ready(step) end
    end
  end
  store_locks()
end

local function reply(run_state)
  release_admitted()
  local defs, members = {}, {}
  for i, node in ipairs(RELEASED) do
    defs[i] = redis.call('HGET', DEFS, node)
    local barrier = redis.call('HGET', step_key(node), 'barrier')
    if barrier then members[barrier] = (members[barrier] or 0) + 1 end
  end
  for barrier, count in pairs(members) do
    if count > 1 and redis.call('HGET', step_key(barrier), 'chord') then
      redis.call('HSETNX', step_key(barrier), 'header', count)
    end
  end
  return {run_state, defs, JOINED}
end
