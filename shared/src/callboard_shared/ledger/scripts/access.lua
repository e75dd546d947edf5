-- API keys. ARGV: "put" id sha256 record | "delete" id | "find" sha256 | "list"
local records, by_hash = KEYS[1], KEYS[2]
if ARGV[1] == "put" then
  redis.call("HSET", records, ARGV[2], ARGV[4])
  redis.call("HSET", by_hash, ARGV[3], ARGV[2])
  return 1
elseif ARGV[1] == "delete" then
  for _, pair in ipairs({ redis.call("HGETALL", by_hash) }) do
    for i = 1, #pair, 2 do
      if pair[i + 1] == ARGV[2] then redis.call("HDEL", by_hash, pair[i]) end
    end
  end
  return redis.call("HDEL", records, ARGV[2])
elseif ARGV[1] == "find" then
  local id = redis.call("HGET", by_hash, ARGV[2])
  return id and redis.call("HGET", records, id) or false
end
return redis.call("HVALS", records)
