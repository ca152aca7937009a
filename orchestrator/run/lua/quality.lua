-- mark_quality(impact): something in the run is not as good as it could be; the worst of it is kept with the run.
local IMPACTS = {low = 1, medium = 2, high = 3}
local function mark_quality(impact)
  local was = redis.call('HGET', META, 'quality_impact')
  if not was or IMPACTS[was] < IMPACTS[impact] then redis.call('HSET', META, 'quality_impact', impact) end
end
