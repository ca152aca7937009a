-- end_step(node, state, name, value, ...): a node has ended, and gets these fields; ended(node, f, state, ...): the same,
-- for whoever knows its leaf, locks, leased and asking. DONE: how many nodes have, once this script has ended one; TOTAL:
-- all there are, when it has read that.
local DONE, TOTAL

local function ended(node, f, state, ...)
  redis.call('HSET', step_key(node), 'state', state, 'finished_at', STAMP, ...)
  if is_lane(node) then return end
  DONE = redis.call('HINCRBY', META, 'done', 1)
  if f[2] then free_locks(node) end
  end_lease(node, f[3], f[4])
  if CLASS[state] == 'bad' then
    redis.call('HINCRBY', META, 'bad', 1)
    if f[1] then redis.call('HINCRBY', META, 'bad_leaf', 1) end
  end
end

local function end_step(node, ...)
  ended(node, redis.call('HMGET', step_key(node), 'leaf', 'locks', 'leased', 'asking'), ...)
end
