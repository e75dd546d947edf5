-- Uploads that arrive in parts. A part is a content with a record of its own, which nobody is shown and which expires
-- with the upload. KEYS: record prefix, owned prefix, expiry, bytes by owner, uploads prefix.
-- ARGV: "begin" id ttl_ms owner bytes quota field value …  -> -1, or what the owner has stored if the quota forbids it
--       | "append" id ttl_ms offset part bytes quota record
--           -> the new offset, or -1 (no such upload), -2 (it is at another offset, or finished), -3 (over the quota)
--       | "finish" id ttl_ms file created bytes record -> {0: done, 1: it was before, 2: no such upload; parts or the file}
--       | "remove" id                                  -> its parts, or nothing if there is no such upload
local call = redis.call
local key = KEYS[5] .. ARGV[2]
local clock = call("TIME")
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function count(owner, bytes)
  if call("HINCRBY", KEYS[4], owner, string.format("%.0f", bytes)) <= 0 then call("HDEL", KEYS[4], owner) end
end

local function stay(ttl, parts)
  local expires = string.format("%.0f", now + ttl)
  call("HSET", key, "expires", expires)
  call("PEXPIRE", key, ttl)
  for part in string.gmatch(parts, "%S+") do call("ZADD", KEYS[3], expires, part) end
end

local function drop(owner, parts, but)
  for part in string.gmatch(parts, "%S+") do
    local record = call("GET", KEYS[1] .. part)
    if record then count(owner, -cjson.decode(record).bytes) end
    if part ~= but then call("DEL", KEYS[1] .. part) end
    call("ZREM", KEYS[3], part)
  end
end

if ARGV[1] == "begin" then
  local stored = tonumber(call("HGET", KEYS[4], ARGV[4]) or "0")
  if stored + tonumber(ARGV[5]) > tonumber(ARGV[6]) then return stored end
  call("HSET", key, "owner", ARGV[4], "bytes", ARGV[5], "offset", "0", "parts", "", "file", "", unpack(ARGV, 7))
  stay(tonumber(ARGV[3]), "")
  return -1
end

local upload = call("HMGET", key, "owner", "offset", "parts", "file")
if ARGV[1] == "append" then
  if not upload[1] then return -1 end
  if upload[2] ~= ARGV[4] or upload[4] ~= "" then return -2 end
  local stored = tonumber(call("HGET", KEYS[4], upload[1]) or "0")
  if stored + tonumber(ARGV[6]) > tonumber(ARGV[7]) then return -3 end
  local parts = upload[3] .. ARGV[5] .. " "
  call("SET", KEYS[1] .. ARGV[5], ARGV[8])
  count(upload[1], tonumber(ARGV[6]))
  local offset = tonumber(ARGV[4]) + tonumber(ARGV[6])
  call("HSET", key, "offset", string.format("%.0f", offset), "parts", parts)
  stay(tonumber(ARGV[3]), parts)
  return offset
elseif ARGV[1] == "finish" then
  if not upload[1] then return { 2, "" } end
  if upload[4] ~= "" then return { 1, upload[4] } end
  drop(upload[1], upload[3], ARGV[4])
  count(upload[1], tonumber(ARGV[6]))
  call("SET", KEYS[1] .. ARGV[4], ARGV[7])
  call("ZADD", KEYS[2] .. upload[1], ARGV[5], ARGV[4])
  call("HSET", key, "file", ARGV[4], "parts", "")
  stay(tonumber(ARGV[3]), "")
  return { 0, upload[3] }
end
if not upload[1] then return nil end
drop(upload[1], upload[3], nil)
call("DEL", key)
return upload[3]
