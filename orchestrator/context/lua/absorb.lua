-- Fields of branches that the main line has got from a step that had read them there and written upon them.
-- absorbed(step, field, version), absorb(version), brought_along(chosen).
local function branch_key(step) return P .. ':ctx:b:' .. step end

local function branched(text) return string.match(text, '^(%d*):([^:]+):([^:]+)$') end

local function absorbed(step, field, version) -- whether that version of the main line has the field of the branch
  local at = redis.call('HGET', branch_key(step), '!' .. field)
  return at and tonumber(at) <= version
end

local function absorb(version) -- A.absorbed: {step, field} of branches that the payload has been merged with
  for _, item in ipairs(A.absorbed or {}) do redis.call('HSETNX', branch_key(item[1]), '!' .. item[2], version) end
end

local function brought_along(chosen) -- 'field version' of commits that brought in what steps have that are not chosen
  local found = {}
  for _, step in ipairs(redis.call('HKEYS', DEFS)) do
    for _, name in ipairs(chosen[step] and {} or redis.call('HKEYS', branch_key(step))) do
      if string.sub(name, 1, 1) == '!' then
        found[string.sub(name, 2) .. ' ' .. redis.call('HGET', branch_key(step), name)] = true
      end
    end
  end
  return found
end
