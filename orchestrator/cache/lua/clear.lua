-- Empty the cache and begin to count anew. -> how many entries there were
local entries = redis.call('HLEN', ENTRIES)
redis.call('UNLINK', VALUES, ENTRIES, ORDER, ENDS, FAMILIES, STATE)
return entries
