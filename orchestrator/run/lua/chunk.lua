-- A lane is done with a chunk (or gives it back), and takes the next one. A: step, lane, stage, token (of the lane),
-- lease (s); chunk: the one that it holds, with state ('done'; 'later', in delay s, for what is tried again; 'back';
-- 'on': it goes on with it and has stored how far it is), ok, bad, dropped (items that ended), last (nil, or that what
-- is ok has passed all stages), seconds (worked). ARGV[2]: what goes on to the next stage, or how far it is; ARGV[3]: what
-- failed. leave: it takes none. -> {'refused', state}, {'on', state}, or {'chunk', name, packed, how far it was or '',
-- times it was begun, reply} or {'idle' or 'over', reply}
local lk, x = step_key(A.lane), expansion(A.step)
local f = redis.call('HMGET', lk, 'state', 'token', 'chunk')
local run = redis.call('HMGET', META, 'state', 'doom')
if f[1] ~= 'running' or tonumber(f[2]) ~= A.token then return {'refused', f[1] or 'gone'} end
if A.chunk and A.chunk ~= f[3] then return {'refused', 'done'} end
due_at('lease:' .. A.lane, A.lease)
local function given(chunk, begun)
  local held = A.stage .. ':' .. chunk
  return {'chunk', chunk, redis.call('HGET', x .. ':in', held) or '', redis.call('HGET', x .. ':part', held) or '',
    begun, reply(run[1])}
end
if A.chunk then
  local held = A.stage .. ':' .. A.chunk
  if A.state ~= 'done' then redis.call('HSET', x .. ':part', held, ARGV[2]) end
  if A.state == 'on' then return {'on', run[2] and 'cancelling' or run[1]} end
  redis.call('HDEL', lk, 'chunk', 'begun')
  end_chunk(held)
elseif f[3] then -- an earlier attempt of this lane has died over it
  return given(f[3], redis.call('HINCRBY', lk, 'begun', 1))
end
local ended = over(A.step)
local chunk
if not ended and not run[2] and not A.leave and run[1] ~= 'paused' and run[1] ~= 'awaiting_input' then
  chunk = next_chunk()
end
if chunk then
  redis.call('HSET', lk, 'chunk', chunk, 'begun', 1)
  return given(chunk, 1)
end
return {(rest(run[2]) or ended) and 'over' or 'idle', reply(run[1])}
