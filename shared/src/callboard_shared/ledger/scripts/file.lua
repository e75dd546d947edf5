-- File records. KEYS: record prefix, owned prefix, expiry.
-- ARGV: "put" id owner created expires("" = never) record | "delete" id owner | "expired" limit
--       | "list" owner newest("+inf" or ms) limit offset
local function records_of(ids)
  local records = {}
  for _, id in ipairs(ids) do records[#records + 1] = redis.call("GET", KEYS[1] .. id) or nil end
  return records
end

if ARGV[1] == "put" then
  redis.call("SET", KEYS[1] .. ARGV[2], ARGV[6])
  redis.call("ZADD", KEYS[2] .. ARGV[3], ARGV[4], ARGV[2])
  if ARGV[5] ~= "" then redis.call("ZADD", KEYS[3], ARGV[5], ARGV[2]) end
  return 1
elseif ARGV[1] == "delete" then
  redis.call("ZREM", KEYS[2] .. ARGV[3], ARGV[2])
  redis.call("ZREM", KEYS[3], ARGV[2])
  return redis.call("DEL", KEYS[1] .. ARGV[2])
elseif ARGV[1] == "list" then
  return records_of(redis.call("ZREVRANGEBYSCORE", KEYS[2] .. ARGV[2], ARGV[3], "-inf", "LIMIT", ARGV[5], ARGV[4]))
end
local now = redis.call("TIME")[1] * 1000
return records_of(redis.call("ZRANGEBYSCORE", KEYS[3], "-inf", now, "LIMIT", 0, ARGV[2]))
