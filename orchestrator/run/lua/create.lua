-- Create a run, once. ARGV[2]: spec. ARGV[3]: nodes, a JSON list of {id, kind, rule, need, to, ...fields}.
-- ARGV[4...]: node, its definition as JSON, and so on; after them (A.inputs pairs) input name, its JSON. A.entering: the
-- promise under which it was let in, if it had to be; A.entered: none comes behind it. -> {'exists'}, {'refused',
-- 'full'} or reply('pending')
if redis.call('EXISTS', META) == 1 then return {'exists'} end
local ENTERING = 'orc:{pools}:entering'
if A.entering and redis.call('HEXISTS', ENTERING, A.entering) == 0 then return {'refused', 'full'} end
redis.call('ZADD', 'orc:active', 'NX', 0, RUN_ID)
redis.call('ZADD', 'orc:runs', 'NX', STAMP, RUN_ID)
local nodes, edges, total = cjson.decode(ARGV[3]), {}, 0
local function put(key, list, first, last) -- names and values, by 500 pairs
  for i = first, last, 1000 do redis.call('HSET', key, unpack(list, i, math.min(i + 999, last))) end
end
for _, node in ipairs(nodes) do
  redis.call('HSET', step_key(node.id), unpack(planned(node)))
  if node.to ~= '' then edges[#edges + 1], edges[#edges + 2] = node.id, node.to end
  if node.kind ~= 'gate' then total = total + 1 end
end
redis.call('SET', P .. ':spec', ARGV[2])
put(EDGES, edges, 1, #edges)
put(DEFS, ARGV, 4, 3 + 2 * #nodes)
put(P .. ':inputs', ARGV, 4 + 2 * #nodes, #ARGV)
move_run('pending', 'workflow', A.workflow, 'created_at', STAMP, 'total', total,
  'done', 0, 'bad', 0, 'bad_leaf', 0, 'retention', A.retention, 'critical_path_seconds', A.critical_path_seconds)
event('run', '', 'pending')
if A.timeout then
  redis.call('HSET', META, 'timeout', A.timeout)
  due_at('run:', A.timeout)
end
if A.pace then due_at('pace:', A.pace) end
for _, node in ipairs(nodes) do
  if node.need == 0 or node.rule == 'always' then
    local queue, at = {}, 1
    consider(node.id, queue)
    while queue[at] do
      settle(queue[at][1], queue[at][2])
      at = at + 1
    end
  end
end
if MAIL and A.entered then redis.call('HDEL', ENTERING, A.entering) end
return reply('pending')
