-- reset(node, chosen): a node is as it was before it ever ran, but for its attempts, whose tokens go on rising, and for
-- what nodes that are not chosen have told it.
local KEPT = {kind = true, rule = true, need = true, token = true, taken = true, ask = true, log_bytes = true,
  log_lines = true}
for _, name in ipairs(MARKS) do KEPT[name] = true end

local function reset(node, chosen)
  local sk, f, count, anew = step_key(node), {}, {ok = 0, bad = 0, skip = 0}, not (A.step or A.failed)
  withdraw(node)
  local flat = redis.call('HGETALL', sk)
  for i = 1, #flat, 2 do
    local from = string.match(flat[i], '^in:(.*)$')
    f[flat[i]] = flat[i + 1]
    anew = anew or (from and chosen[from])
    if from and not chosen[from] then
      count[CLASS[flat[i + 1]]] = count[CLASS[flat[i + 1]]] + 1
    elseif not KEPT[flat[i]] then
      redis.call('HDEL', sk, flat[i])
    end
  end
  if anew or CLASS[f.state] ~= 'bad' then forget_expansion(node) end -- else only what failed is tried again
  if CLASS[f.state] then redis.call('HINCRBY', META, 'done', -1) end
  if CLASS[f.state] == 'bad' then
    redis.call('HINCRBY', META, 'bad', -1)
    if f.leaf then redis.call('HINCRBY', META, 'bad_leaf', -1) end
  end
  redis.call('HSET', sk, 'state', 'pending', 'spent', f.token or 0, 'ok', count.ok, 'bad', count.bad,
    'skip', count.skip)
  not_due('joined:' .. node, 'barrier:' .. node, 'cancel:' .. node, 'admit:' .. node)
  if f.kind == 'step' then event('step', node, 'pending', f.token) end
end

-- ungate(barrier, queue): members that have not begun wait at their gate, if that is still closed, and for nobody's turn.
local function ungate(barrier, queue)
  local closed = redis.call('HGET', step_key('^' .. string.sub(barrier, 2)), 'state') == 'pending'
  for _, step in ipairs(cjson.decode(redis.call('HGET', DEFS, barrier)).members) do
    local turn = redis.call('HGET', step_key('^^' .. step), 'state')
    if closed or turn == 'pending' then redis.call('HSET', step_key(step), 'gate', 1)
    else redis.call('HDEL', step_key(step), 'gate') end
    queue[#queue + 1] = {step}
  end
end
