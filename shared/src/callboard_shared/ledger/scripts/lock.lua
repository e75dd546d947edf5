-- KEYS[1]: a lock. ARGV: name ttl_ms. Returns 1 if it is held under this name now.
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1
