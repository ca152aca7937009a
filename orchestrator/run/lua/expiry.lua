-- each_key(mapped, command, ...): EXPIRE or PERSIST for every key that the run has, but `:due`, which goes with its end.
-- mapped: whether it has mapped steps.
local function each_key(mapped, command, ...)
  for _, node in ipairs(redis.call('HKEYS', DEFS)) do
    redis.call(command, step_key(node), ...)
    if mapped then each_key_of(node, command, ...) end
    for _, part in ipairs({':log:', ':ctx:b:', ':ctx:d:'}) do redis.call(command, P .. part .. node, ...) end
  end
  for _, part in ipairs({'meta', 'spec', 'inputs', 'edges', 'defs', 'files', 'locks', 'waits', 'conflicts', 'events',
    'end', 'said', 'messages', 'messages:book'}) do
    redis.call(command, P .. ':' .. part, ...)
  end
  for _, part in ipairs({'head', 'past', 'fields', 'blobs', 'refs', 'info', 'versions', 'names', 'pins', 'open'}) do
    redis.call(command, P .. ':ctx:' .. part, ...)
  end
end
