-- release_admitted(): steps whose declared locks were granted in this script are queued, of a group all its members.
-- reply(run_state): {run state, definitions of steps that the caller publishes, barriers to judge, steps that ask for
-- pools as {definition, number}, leases that are over as {step, number}}. Members of a group that are
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
  local defs, members, barriers, again = {}, {}, {}, {}
  for i, node in ipairs(RELEASED) do
    due_at('queued:' .. node, A.lost or 10)
    local barrier = redis.call('HGET', step_key(node), 'barrier')
    if barrier then members[barrier] = (members[barrier] or 0) + 1 end
    barriers[i] = barrier
  end
  for barrier, count in pairs(members) do
    local f = redis.call('HMGET', step_key(barrier), 'chord', 'header')
    if not f[1] then
      members[barrier] = 1
    elseif f[2] then
      again[barrier] = true
    elseif count > 1 then
      redis.call('HSET', step_key(barrier), 'header', count)
      if MAIL and MAIL.chord then set_up_chord(string.sub(barrier, 2), count) end
    end
  end
  for i, node in ipairs(RELEASED) do
    local def, barrier = redis.call('HGET', DEFS, node), barriers[i]
    if again[barrier] or not post(def, barrier and members[barrier] or 1) then defs[#defs + 1] = def end
  end
  for i, one in ipairs(ASKING) do ASKING[i] = {redis.call('HGET', DEFS, one[1]), one[2]} end
  return {run_state, defs, JOINED, ASKING, FREED}
end
