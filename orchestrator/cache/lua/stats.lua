-- What there is in a cache now, after whatever is over has gone. -> {entries, {name, number, ...}, {family, counts, ...}}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', float(NOW), 'LIMIT', 0, 1000)) do
  remove(id, entry_of(id))
  count('expired')
end
return {redis.call('HLEN', ENTRIES), redis.call('HGETALL', STATE), redis.call('HGETALL', FAMILIES)}
