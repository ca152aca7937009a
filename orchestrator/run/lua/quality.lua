-- mark_quality(impact): something in the run is not as good as it could be; the worst of it is kept with the run.
-- keep_marks(): what that is. A.marks: {kind, group, level, message}, of which the run keeps the first hundred.
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
    event('quality', mark.group, mark.level, '', mark.message)
  end
  redis.call('HSET', META, 'quality', cjson.encode(kept))
end
