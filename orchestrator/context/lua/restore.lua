-- The main line becomes again what it was at a version, as a new version. A: to, author.
-- -> {'gone', oldest version} or {'ok', version}. What is new in Redis expires with an ended run.
if not readable(A.to) then return {'gone', tostring(info().floor)} end
local changes, version = {}, newest() + 1
for _, field in ipairs(redis.call('ZRANGEBYLEX', FIELDS, '-', '+')) do
  local _, hash, mark = value_at(field, A.to)
  put(changes, version, field, hash, '', mark)
end
local made = record(A.author, 0, changes)
local keep = redis.call('TTL', META)
if keep > 0 then redis.call('EXPIRE', PAST, keep) end
return {'ok', made}
