-- over(S): whether nothing is left to do for a mapped step; the merge of all results comes last.
local function over(step)
  local x = expansion(step)
  local f = redis.call('HMGET', x, 'closed', 'stages', 'merge', 'merging', 'over')
  if f[5] or not f[1] or not f[2] then return f[5] ~= false end
  for stage = 0, tonumber(f[2]) - 1 do
    if tonumber(redis.call('HGET', x, 'open:' .. stage) or 0) > 0 then return false end
  end
  if f[3] and not f[4] and redis.call('HLEN', x .. ':out') > 0 then
    redis.call('HSET', x, 'merging', 1)
    push(step, f[3], 'all')
    return false
  end
  redis.call('HSET', x, 'over', 1)
  due_at('gather:' .. step, A.joined or 2)
  return true
end
