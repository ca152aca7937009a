-- reply(run_state, ...): {run state, definitions of the steps to publish, barriers to publish, ...}
local function reply(run_state, ...)
  local defs = {}
  for i, node in ipairs(RELEASED) do defs[i] = redis.call('HGET', DEFS, node) end
  return {run_state, defs, JOINED, ...}
end
