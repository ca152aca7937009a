-- each_key_of(S, command, ...): EXPIRE, PERSIST or DEL for every key of a mapped step. forget_expansion(S): it begins anew.
local function each_key_of(step, command, ...)
  local x = P .. ':x:' .. step
  local stages = tonumber(redis.call('HGET', x, 'stages') or 1)
  for _, part in ipairs({'', ':in', ':part', ':out', ':bad', ':later', ':room'}) do redis.call(command, x .. part, ...) end
  for stage = 0, stages - 1 do
    redis.call(command, x .. ':q:' .. stage, ...)
    redis.call(command, x .. ':idle:' .. stage, ...)
  end
end

local function forget_expansion(step) each_key_of(step, 'DEL') end
