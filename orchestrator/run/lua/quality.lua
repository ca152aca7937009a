-- mark_quality(impact): something in the run is not as good as it could be; the worst of it is kept with the run.
-- keep_marks(): what that is. A.marks: {kind, group or step, level, message}, of which the run keeps the first hundred.
-- forget_marks(chosen, whole): groups whose barriers are among the chosen nodes will be judged anew.
local IMPACTS = {low = 1, medium = 2, high = 3}
local function mark_quality(impact)
  local was = redis.call('HGET', META, 'quality_impact')
  if not was or IMPACTS[was] < IMPACTS[impact] then redis.call('HSET', META, 'quality_impact', impact) end
end

local function keep_marks()
  if not A.marks then return end
  local kept = cjson.decode(redis.call('HGET', META, 'quality') or '[]')
  for _, mark in ipairs(A.marks) do
    if #kept < 100 then kept[#kept + 1] = mark end
    mark_quality(mark.level)
    event('quality', mark.group or mark.step, mark.level, '', mark.message)
  end
  redis.call('HSET', META, 'quality', cjson.encode(kept))
end

local function forget_marks(chosen, whole)
  local kept = {}
  for _, mark in ipairs(cjson.decode(redis.call('HGET', META, 'quality') or '[]')) do
    local barrier = '@' .. (mark.group or '') .. (mark.kind == 'validation' and '.validation' or '')
    if not (whole or chosen[barrier] or chosen[mark.step or '']) then kept[#kept + 1] = mark end
  end
  redis.call('HDEL', META, 'quality', 'quality_impact')
  if kept[1] then redis.call('HSET', META, 'quality', cjson.encode(kept)) end
  for _, mark in ipairs(kept) do mark_quality(mark.level) end
end
