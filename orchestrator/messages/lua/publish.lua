-- Publish messages. KEYS[1]: the run's prefix; trimming(P, A, NOW) gives trim.lua's function. ARGV[1]: nonce (the same
-- for a repeated call), [2]: '1' if it is of a run, which then has to be there, [3-5]: limits bytes, keep, live,
-- [6-8]: of the attempt that speaks, or '': step, token, node (its own in the ledger);
-- [9...]: topic, step that it is meant for or '', data as JSON, key or ''; and so on. What was published under a key
-- within the last ten minutes is not published again. -> {'ok', id, ...} or {'refused', state}
-- Nothing is read or made that one message does not need: a fifth of a millisecond of its way is this script.
local P, META = KEYS[1], KEYS[1] .. ':meta'
local STREAM, BOOK = P .. ':messages', P .. ':messages:book'
local of_run, keep, step, token = ARGV[2] == '1', tonumber(ARGV[4]), ARGV[6], ARGV[7]
if of_run then
  if redis.call('EXISTS', META) == 0 then return {'refused', 'unknown'} end
  if token ~= '' then
    local f = redis.call('HMGET', P .. ':s:' .. ARGV[8], 'state', 'token')
    if f[1] ~= 'running' or f[2] ~= token then return {'refused', f[1] or 'unknown'} end
  end
end
local sent = P .. ':messages:sent:' .. ARGV[1]
local before_now = redis.call('GET', sent)
if before_now then return cmsgpack.unpack(before_now) end
local size, found = 0, {'ok'}
for at = 9, #ARGV, 4 do size = size + #ARGV[at] + #ARGV[at + 1] + #ARGV[at + 2] + 100 end
local total = redis.call('HINCRBY', BOOK, 'bytes', size)
local begun, written = total - size, total - size
for at = 9, #ARGV, 4 do
  local topic, to, data, key = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local mark = key ~= '' and P .. ':messages:key:' .. key
  local id = mark and redis.call('GET', mark)
  if not id then
    id = redis.call('XADD', STREAM, '*', 'o', string.format('%.0f', written), 't', 'message', 's', topic, 'n', step,
      'a', token, 'to', to, 'j', data)
    written = written + #topic + #to + #data + 100
    if mark then redis.call('SET', mark, id, 'EX', 600) end
  end
  found[#found + 1] = id
end
if written < total then total = redis.call('HINCRBY', BOOK, 'bytes', written - total) end
redis.call('SET', sent, cmsgpack.pack(found), 'EX', 10)
if total > keep and math.floor(total / keep * 8) > math.floor(begun / keep * 8) then
  local limits = {bytes = tonumber(ARGV[3]), keep = keep, live = tonumber(ARGV[5])}
  trimming(P, {}, tonumber(redis.call('TIME')[1]))(total, limits)
end
local left = of_run and redis.call('TTL', META) or -1
if left >= 0 then for _, key in ipairs({STREAM, BOOK}) do redis.call('EXPIRE', key, left) end end
return found
