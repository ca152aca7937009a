-- A value is still being computed. A: id, owner, lease (s). -> 1, or 0 when somebody else does it by now
local build = P .. ':build:' .. A.id
if redis.call('GET', build) ~= A.owner then return 0 end
redis.call('PEXPIRE', build, math.ceil(A.lease * 1000))
return 1
