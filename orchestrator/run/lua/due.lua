-- What of this run has to be looked at now. A: again (s): whoever asks has that long to act, then it is due anew.
-- -> {state of the run or '', time of the next item or '', {item, node, state, token, definition, facts as JSON}, ...}
local state = redis.call('HGET', META, 'state')
local found = {state or '', ''}
local items, queued, since = {}, {}, {}
local listed = redis.call('ZRANGEBYSCORE', DUE, '-inf', STAMP, 'WITHSCORES', 'LIMIT', 0, 2000)
for at = 1, #listed, 2 do
  local item = listed[at]
  since[item] = tonumber(listed[at + 1])
  local into = string.find(item, '^queued:') and queued or items
  if #into < (into == queued and 20 or 100) then into[#into + 1] = item end
end
for _, item in ipairs(queued) do items[#items + 1] = item end -- what is only suspected comes last
for _, item in ipairs(items) do
  local kind, node = string.match(item, '^(%l+):(.*)$')
  local f = redis.call('HMGET', step_key(node), 'state', 'token', 'queued_at', 'progress_at', 'started_at', 'extensions')
  due_at(item, kind == 'queued' and (A.lost or 10) or A.again)
  found[#found + 1] = {item, kind, node, f[1] or '', f[2] or '0', redis.call('HGET', DEFS, node) or '',
    f[3] or '0', f[4] or '0', f[5] or '0', f[6] or '0', string.format('%.6f', NOW - since[item])}
end
local first = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
if first[2] then found[2] = first[2] end
return found
