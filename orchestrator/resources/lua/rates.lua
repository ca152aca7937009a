-- Token buckets, each as the time (microseconds) until which its tokens are given out (GCRA). `most` ms is how long all
-- of its `amount` tokens take to come back. next_token(rate) -> ms to wait; take_token(rate).
local function until_when(rate)
  return math.max(NOW * 1000, tonumber(redis.call('GET', P .. ':rate:' .. rate.name .. '=' .. rate.amount .. '/'
    .. rate.most) or 0))
end
local function interval(rate) return math.ceil(rate.most * 1000 / rate.amount) end
local function next_token(rate)
  return math.max(0, math.ceil((until_when(rate) - NOW * 1000 - (rate.amount - 1) * interval(rate)) / 1000))
end
local function take_token(rate)
  local given = until_when(rate) + interval(rate)
  redis.call('SET', P .. ':rate:' .. rate.name .. '=' .. rate.amount .. '/' .. rate.most,
    string.format('%.0f', given), 'PX', math.ceil(given / 1000) - NOW + 1)
end
