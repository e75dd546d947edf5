-- API keys. KEYS: records by id, ids by hash, last use by id.
-- ARGV: "put" id sha256 record | "change" id record | "rotate" id sha256 record grace_ms | "delete" id | "find" sha256 | "list"
-- An id by hash may carry the ms until which that hash, which another has taken the place of, still holds: "id ms".
-- A record comes with the ms of its last use behind it: {record, ms}.
local records, by_hash, used = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call("TIME")
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local action, id = ARGV[1], ARGV[2]

local function hashes_of(key_id)
  local found, pairs_ = {}, redis.call("HGETALL", by_hash)
  for i = 1, #pairs_, 2 do
    local owner, until_ms = string.match(pairs_[i + 1], "^(%S+) ?(%d*)$")
    if owner == key_id then found[#found + 1] = { pairs_[i], tonumber(until_ms) } end
  end
  return found
end

if action == "put" then
  redis.call("HSET", records, id, ARGV[4])
  redis.call("HSET", by_hash, ARGV[3], id)
  return 1
elseif action == "change" then
  if redis.call("HEXISTS", records, id) == 0 then return 0 end
  redis.call("HSET", records, id, ARGV[3])
  return 1
elseif action == "rotate" then
  if redis.call("HEXISTS", records, id) == 0 then return 0 end
  for _, old in ipairs(hashes_of(id)) do
    local last = math.min(old[2] or math.huge, NOW + tonumber(ARGV[5]))
    if last <= NOW then
      redis.call("HDEL", by_hash, old[1])
    else
      redis.call("HSET", by_hash, old[1], id .. " " .. string.format("%.0f", last))
    end
  end
  redis.call("HSET", records, id, ARGV[4])
  redis.call("HSET", by_hash, ARGV[3], id)
  return 1
elseif action == "delete" then
  for _, hash in ipairs(hashes_of(id)) do redis.call("HDEL", by_hash, hash[1]) end
  redis.call("HDEL", used, id)
  return redis.call("HDEL", records, id)
elseif action == "find" then
  local owner, until_ms = string.match(redis.call("HGET", by_hash, ARGV[2]) or "", "^(%S+) ?(%d*)$")
  if not owner then return false end
  if until_ms ~= "" and tonumber(until_ms) <= NOW then
    redis.pcall("HDEL", by_hash, ARGV[2])
    return false
  end
  redis.pcall("HSET", used, owner, string.format("%.0f", NOW)) -- a ledger that is full still knows its keys
  return { redis.call("HGET", records, owner), NOW }
end
local found = {}
for _, record in ipairs(redis.call("HVALS", records)) do
  local last = redis.call("HGET", used, cjson.decode(record).id)
  found[#found + 1] = { record, last }
end
return found
