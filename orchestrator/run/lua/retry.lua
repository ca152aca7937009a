-- The run begins anew from steps that have ended, finished or not. A: as for choose(); nonce (the same for a repeated
-- call). -> {'refused', why} or reply(run state). Late attempts of before are refused: their tokens are old.
local f = redis.call('HMGET', META, 'state', 'finished_at', 'doom', 'retried', 'timeout', 'mapped')
if not f[1] then return {'refused', 'unknown'} end
if f[4] == A.nonce then return reply(f[1]) end -- the first answer was lost on its way
if f[3] and not f[2] then return {'refused', f[1]} end
local chosen, why = choose(f[2])
if not chosen then return {'refused', why} end
local whole = not (A.step or A.failed)
undo(chosen, whole)
forget_marks(chosen, whole)
local queue, at = {}, 1
for node in pairs(chosen) do reset(node, chosen) end
for node in pairs(chosen) do
  if string.sub(node, 1, 2) == '^^' then redis.call('HSET', step_key(string.sub(node, 3)), 'gate', 1) end
end
redis.call('HSET', META, 'retried', A.nonce)
if f[2] then
  redis.call('HDEL', META, 'finished_at', 'doom', 'reason', 'held')
  move_run(waits_for_a_person() and 'awaiting_input' or 'running')
  redis.call('DEL', P .. ':end')
  each_key(f[6], 'PERSIST')
  if f[5] then due_at('run:', tonumber(f[5])) end
  local open = redis.call('HGETALL', P .. ':ctx:open')
  for i = 1, #open, 2 do
    if open[i + 1] ~= '' then due_at('conflict:' .. open[i], tonumber(open[i + 1])) end
  end
  event('run', '', state_of_run())
end
for _, node in ipairs(redis.call('HKEYS', DEFS)) do
  local s = redis.call('HMGET', step_key(node), 'state', 'quality_impact')
  local barrier = string.sub(node, 1, 1) == '@'
  if s[2] and s[2] ~= '' then mark_quality(s[2]) end
  if CLASS[s[1]] then -- what stays may have ended by a cancel, without telling anybody
    if barrier then redis.call('HSETNX', step_key(node), 'outcome', s[1]) end
    queue[#queue + 1] = {node, s[1]}
  elseif chosen[node] then
    if barrier then ungate(node, queue) end
    queue[#queue + 1] = {node}
  end
end
while queue[at] do
  if queue[at][2] then settle(queue[at][1], queue[at][2]) else consider(queue[at][1], queue) end
  at = at + 1
end
return reply(close_run())
