-- Chunks for a mapped step, each in the store before it runs. A: step, at (how many chunks there have to be already),
-- counts (items of each new one), closed (nil, or that these are the last), room (so many may wait; nil: any number),
-- anew (nil, or that whatever was there before is dropped), silence (s: the sweep looks after the feeder then),
-- nonce (the same for a repeated call).
-- ARGV[2...]: packed chunks.
-- -> {'refused', 'full', 'ended' or 'ok', chunks, items, state of the run, ended items, seconds worked, reply}
local sk, x = step_key(A.step), expansion(A.step)
local run = redis.call('HMGET', META, 'state', 'doom')
local f = redis.call('HMGET', sk, 'kind', 'state', 'lanes')
if not run[1] or f[1] ~= 'step' then return {'ended', 0, 0, 'unknown', '0', '0', {'', {}, {}}} end
if A.anew and not f[3] then forget_expansion(A.step) end
local has = redis.call('HMGET', x, 'fed', 'items', 'closed', 'ended', 'seconds', 'nonce')
local fed, items = tonumber(has[1] or 0), tonumber(has[2] or 0)
local function answer(kind) return {kind, fed, items, run[1], has[4] or '0', has[5] or '0', reply(run[1])} end
if A.nonce and has[6] == A.nonce then return answer('ok') end -- the first answer was lost on its way
if CLASS[f[2]] or run[2] then return answer('ended') end
redis.call('HSET', META, 'mapped', 1)
redis.call('HSET', x, 'fed_at', STAMP)
if A.silence then due_at('feed:' .. A.step, A.silence) end
if fed ~= A.at or has[3] then return answer(has[3] and 'ended' or 'refused') end
if A.room and redis.call('LLEN', x .. ':q:0') + #A.counts > A.room then return answer('full') end
for i, count in ipairs(A.counts) do
  redis.call('HSET', x .. ':in', '0:' .. fed, ARGV[i + 1])
  push(A.step, 0, fed)
  fed, items = fed + 1, items + count
end
redis.call('HSET', x, 'fed', fed, 'items', items, 'nonce', A.nonce or '')
if A.closed then
  redis.call('HSET', x, 'closed', 1)
  not_due('feed:' .. A.step)
  if f[3] and over(A.step) then due_at('gather:' .. A.step, 0) end
end
return answer('ok')
