-- expire_as_run(): what is written for a run that has ended goes with it.
local function expire_as_run()
  local left = A.run and redis.call('TTL', META) or -1
  if left < 0 then return end
  redis.call('EXPIRE', P .. ':messages', left)
  redis.call('EXPIRE', P .. ':messages:book', left)
end
