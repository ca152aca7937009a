-- How many messages wait in queues. KEYS[1]: prefix of the lists' names, may be empty. ARGV: kombu's separator, number
-- of priorities, then queues. -> a number for each queue
local found = {}
for at = 3, #ARGV do
  local name = KEYS[1] .. ARGV[at]
  found[at - 2] = redis.call('LLEN', name)
  for level = 1, tonumber(ARGV[2]) - 1 do
    found[at - 2] = found[at - 2] + redis.call('LLEN', name .. ARGV[1] .. level)
  end
end
return found
