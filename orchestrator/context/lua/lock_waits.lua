-- How long locks were waited for. `:waits` maps `<section> <ms>` to how many waited at most so long, `<section> inf`
-- to those beyond, `<section> total` and `<section> max` to ms, `<section> late` to how many gave up.
local WAITS = P .. ':waits'
local BOUNDS = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000}
local function lock_event(section, entry, what, ms)
  local mode = entry.write and 'write' or 'read'
  event('lock', entry.step, what, entry.attempt, string.format('%s to %s after %.3f s', section, mode, ms / 1000),
    'section', section, 'mode', mode, 'seconds', string.format('%.3f', ms / 1000))
end
local function waited(section, entry)
  local ms, bucket = entry.waited, 'inf'
  if ms == 0 then return end
  for at = #BOUNDS, 1, -1 do
    if ms <= BOUNDS[at] then bucket = BOUNDS[at] end
  end
  redis.call('HINCRBY', WAITS, section .. ' ' .. bucket, 1)
  redis.call('HINCRBY', WAITS, section .. ' total', ms)
  if ms > tonumber(redis.call('HGET', WAITS, section .. ' max') or 0) then
    redis.call('HSET', WAITS, section .. ' max', ms)
  end
  lock_event(section, entry, 'granted', ms)
end
local function late() -- whoever asks in this script has waited in vain
  redis.call('HINCRBY', WAITS, A.section .. ' late', 1)
  if A.wait > 0 then lock_event(A.section, {step = A.step, attempt = A.attempt, write = A.write}, 'timed_out', A.wait) end
end
