-- The fields that differ between two versions. A: a, b.
-- -> {'gone', oldest version} or {'ok', field, packed at a or '', packed at b or '', ...}
if not (readable(A.a) and readable(A.b)) then return {'gone', tostring(info().floor)} end
local reply = {'ok'}
local function value(hash) return hash ~= NONE and redis.call('HGET', BLOBS, hash) or '' end
for _, field in ipairs(redis.call('ZRANGEBYLEX', FIELDS, '-', '+')) do
  local _, a = value_at(field, A.a)
  local _, b = value_at(field, A.b)
  if a ~= b then
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = field, value(a), value(b)
  end
end
return reply
