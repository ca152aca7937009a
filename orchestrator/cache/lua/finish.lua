-- done(id, owner): whoever computed it has ended; those who wait are told, and ask again.
local function done(id, owner)
  local build, waits = P .. ':build:' .. id, P .. ':waits:' .. id
  if not owner or redis.call('GET', build) ~= owner then return false end
  redis.call('DEL', build)
  for _, other in ipairs(redis.call('SMEMBERS', waits)) do
    redis.call('RPUSH', P .. ':wake:' .. other, '1')
    redis.call('EXPIRE', P .. ':wake:' .. other, 60)
  end
  redis.call('DEL', waits)
  return true
end
