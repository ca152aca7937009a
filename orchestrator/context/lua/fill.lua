-- fill(step, document): defaults stand for the output of a step that gave none.
local function fill(step, document)
  redis.call('HSETNX', P .. ':ctx', step, document)
end
