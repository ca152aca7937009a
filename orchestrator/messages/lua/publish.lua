-- Publish messages. A: run (whether it is of a run, which then has to be there), limits {bytes, keep, live}, nonce (the
-- same for a repeated call); of the attempt that speaks, if one does, step, token, and node (its own in the ledger).
-- ARGV[2...]: topic, step that it is meant for or '', data as JSON, key or ''; and so on. What was published under a key
-- within the last ten minutes is not published again. -> {'ok', id, ...} or {'refused', state}
if A.run then
  if redis.call('EXISTS', META) == 0 then return {'refused', 'unknown'} end
  if A.token then
    local f = redis.call('HMGET', step_key(A.node), 'state', 'token')
    if f[1] ~= 'running' or tonumber(f[2]) ~= A.token then return {'refused', f[1] or 'unknown'} end
  end
end
local sent = P .. ':messages:sent:' .. A.nonce
local before_now = redis.call('GET', sent)
if before_now then return cjson.decode(before_now) end
local book = redis.call('HMGET', BOOK, 'bytes', 'tried')
local total, tried, found = tonumber(book[1] or 0), tonumber(book[2] or 0), {'ok'}
for at = 2, #ARGV, 4 do
  local topic, to, data, key = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local mark = key ~= '' and P .. ':messages:key:' .. key
  local id = mark and redis.call('GET', mark)
  if not id then
    id = redis.call('XADD', STREAM, '*', 'o', string.format('%.0f', total), 't', 'message', 's', topic, 'n', A.step or '',
      'a', A.token or '', 'to', to, 'j', data, 'at', STAMP)
    total = total + #topic + #to + #data + 100
    if mark then redis.call('SET', mark, id, 'EX', 600) end
  end
  found[#found + 1] = id
end
if total - tried > A.limits.keep / 8 then
  if total > A.limits.keep then trim(total, A.limits) end
  tried = total
end
redis.call('HSET', BOOK, 'bytes', string.format('%.0f', total), 'tried', string.format('%.0f', tried))
redis.call('SET', sent, cjson.encode(found), 'EX', 10)
expire_as_run()
return found
