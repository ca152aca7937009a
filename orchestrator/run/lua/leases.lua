-- What a run knows of its leases on pools, which have keys of their own. ASKING: steps that need one, for which the caller
-- asks; FREED: those whose lease is over; as {step, number of the asking}. A step asks anew after each time that it had
-- a lease or gave up waiting for one. `asking` is the number while it waits, `leased` while it has one.
-- ask(node, asking): the sweep asks again for what is not answered. end_lease(node, leased, asking).
local ASKING, FREED = {}, {}

local function end_lease(node, leased, asking)
  if not leased and not asking then return end
  redis.call('HDEL', step_key(node), 'leased', 'asking')
  not_due('pool:' .. node)
  FREED[#FREED + 1] = {node, tonumber(leased or asking)}
end

local function ask(node, asking)
  due_at('pool:' .. node, asking and 3 * (A.lost or 10) or 2)
  if not asking then
    asking = redis.call('HINCRBY', step_key(node), 'ask', 1)
    redis.call('HSET', step_key(node), 'asking', asking)
  end
  ASKING[#ASKING + 1] = {node, tonumber(asking)}
end
