-- A member of a group has written into shared sections, or shows it in a draft. A: node (its barrier), step, paths.
-- -> {} when the barrier has decided, or {{step, state, paths that it has written (JSON), definition}, ...}
-- of the other members
local bk = step_key(A.node)
local def = redis.call('HGET', DEFS, A.node)
if not def or redis.call('HEXISTS', bk, 'outcome') == 1 then return {} end
local paths, known = cjson.decode(redis.call('HGET', bk, 'wrote:' .. A.step) or '[]'), {}
for _, path in ipairs(paths) do known[path] = true end
for _, path in ipairs(A.paths) do
  if not known[path] then paths[#paths + 1] = path end
end
redis.call('HSET', bk, 'wrote:' .. A.step, cjson.encode(paths))
local found = {}
for _, step in ipairs(cjson.decode(def).members) do
  if step ~= A.step then
    found[#found + 1] = {step, redis.call('HGET', step_key(step), 'state'),
      redis.call('HGET', bk, 'wrote:' .. step) or '[]', redis.call('HGET', DEFS, step)}
  end
end
return found
