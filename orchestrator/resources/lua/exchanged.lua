-- The end of exchange: when nobody waits, the virtual time of all is that of whoever was served most; those who are not
-- ahead of it need none of their own, nor do more than KEPT. Leases that are due are named.
local KEPT = 10000
if redis.call('EXISTS', ASKS) == 0 then
  VIRTUAL = math.max(VIRTUAL, tonumber(redis.call('ZRANGE', FAIR, -1, -1, 'WITHSCORES')[2] or 0))
end
if VIRTUAL > BEFORE then redis.call('SET', P .. ':virtual', string.format('%.0f', VIRTUAL)) end
redis.call('ZREMRANGEBYSCORE', FAIR, '-inf', string.format('%.0f', VIRTUAL))
redis.call('ZREMRANGEBYRANK', FAIR, 0, -KEPT - 1)
local looks = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LOOKS, '-inf', NOW, 'LIMIT', 0, A.looks)) do
  redis.call('ZADD', LOOKS, NOW + A.look, id)
  looks[#looks + 1] = {id, cjson.decode(redis.call('HGET', LEASES, id)).n}
end
for _, one in ipairs(GRANTED) do AGAIN[#AGAIN + 1] = one end
return {AGAIN, looks, CONFLICTS}
