-- release_admitted(): steps whose declared locks were granted in this script are queued, of a group all its members.
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
