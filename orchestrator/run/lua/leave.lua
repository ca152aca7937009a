-- A process's turn is over, unless it was given something meanwhile. A: who, queues, owner, head. -> {what it was given}
-- or {}
local A = cjson.decode(ARGV[1])
no_longer_waits(A.who, A.queues)
local given = redis.call('LPOP', 'orc:given:' .. A.who)
if given then return {given} end
redis.call('HDEL', 'orc:turns:' .. A.owner, A.head)
return {}
