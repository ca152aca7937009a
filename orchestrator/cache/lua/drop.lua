-- An entry turned out to be damaged. A: id. ARGV[2]: its value, as it was found. -> 1, or 0 when it is another by now
local e = entry_of(A.id)
if not e or redis.call('HGET', VALUES, A.id) ~= ARGV[2] then return 0 end
remove(A.id, e)
count('corrupt')
return 1
