-- File records. KEYS: record prefix, owned prefix, expiry, bytes by owner.
-- ARGV: "put" id owner created expires("" = never) record bytes quota("" = none)
--         -> -1, or the bytes that the owner has stored, if the quota does not allow this (then nothing changed)
--       | "delete" id owner | "expired" limit
--       | "list" owner newest("+inf" or ms) limit offset
local call = redis.call

local function count(owner, bytes)
  if call("HINCRBY", KEYS[4], owner, string.format("%.0f", bytes)) <= 0 then call("HDEL", KEYS[4], owner) end
end

local function records_of(ids)
  local records = {}
  for _, id in ipairs(ids) do records[#records + 1] = call("GET", KEYS[1] .. id) or nil end
  return records
end

if ARGV[1] == "put" then
  local id, owner, bytes = ARGV[2], ARGV[3], tonumber(ARGV[7])
  if call("EXISTS", KEYS[1] .. id) == 0 then
    local stored = tonumber(call("HGET", KEYS[4], owner) or "0")
    if ARGV[8] ~= "" and stored + bytes > tonumber(ARGV[8]) then return stored end
    count(owner, bytes)
  end
  call("SET", KEYS[1] .. id, ARGV[6])
  call("ZADD", KEYS[2] .. owner, ARGV[4], id)
  if ARGV[5] ~= "" then call("ZADD", KEYS[3], ARGV[5], id) end
  return -1
elseif ARGV[1] == "delete" then
  local record = call("GET", KEYS[1] .. ARGV[2])
  if record then count(ARGV[3], 0 - cjson.decode(record).bytes) end -- not "-0", which is no integer
  call("ZREM", KEYS[2] .. ARGV[3], ARGV[2])
  call("ZREM", KEYS[3], ARGV[2])
  return call("DEL", KEYS[1] .. ARGV[2])
elseif ARGV[1] == "list" then
  return records_of(call("ZREVRANGEBYSCORE", KEYS[2] .. ARGV[2], ARGV[3], "-inf", "LIMIT", ARGV[5], ARGV[4]))
end
local clock = call("TIME")
local now = clock[1] * 1000
return records_of(call("ZRANGEBYSCORE", KEYS[3], "-inf", now, "LIMIT", 0, ARGV[2]))
