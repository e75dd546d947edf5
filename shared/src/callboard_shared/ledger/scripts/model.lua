-- Models that were trained here, and checkpoints of training, each with the records of its files.
-- KEYS: file record prefix, owned prefix, expiry, models prefix, versions prefix, jobs prefix, checkpoints prefix, bytes by owner.
-- ARGV: "publish" owner name job record, then per file: id created record
--         -> {"name@version", 1 if the job had published it before (then nothing changed), its record}
--       | "find" owner name(with or without @version)  -> {"name@version", record} or nothing
--       | "remove" owner name@version                  -> its record, or nothing
--       | "save" job attempt keep ttl_ms manifest expires owner, then per file: id created record
--         -> {1 if saved (0: a later attempt has saved), the manifests that went}
--       | "forget" job                                 -> the manifests that went
local call = redis.call
local owner = ARGV[2]

local function count(of, bytes)
  if call("HINCRBY", KEYS[8], of, string.format("%.0f", bytes)) <= 0 then call("HDEL", KEYS[8], of) end
end

local function put_files(first, of, expires)
  for i = first, #ARGV, 3 do
    if call("EXISTS", KEYS[1] .. ARGV[i]) == 0 then count(of, cjson.decode(ARGV[i + 2]).bytes) end
    call("SET", KEYS[1] .. ARGV[i], ARGV[i + 2])
    call("ZADD", KEYS[2] .. of, ARGV[i + 1], ARGV[i])
    if expires then call("ZADD", KEYS[3], expires, ARGV[i]) end
  end
end

local function drop_files(files, of)
  for _, file in ipairs(files) do
    local record = call("GET", KEYS[1] .. file.id)
    if record then count(of, -cjson.decode(record).bytes) end
    call("DEL", KEYS[1] .. file.id)
    call("ZREM", KEYS[2] .. of, file.id)
    call("ZREM", KEYS[3], file.id)
  end
end

local function newest(name)
  for version = tonumber(call("HGET", KEYS[5] .. owner, name) or "0"), 1, -1 do
    local full = name .. "@" .. version
    local record = call("HGET", KEYS[4] .. owner, full)
    if record then return { full, record } end
  end
  return {}
end

if ARGV[1] == "publish" then
  local name, job = ARGV[3], ARGV[4]
  local before = call("HGET", KEYS[6] .. owner, job .. " " .. name)
  if before then return { before, 1, call("HGET", KEYS[4] .. owner, before) or "" } end
  local full = name .. "@" .. call("HINCRBY", KEYS[5] .. owner, name, 1)
  call("HSET", KEYS[4] .. owner, full, ARGV[5])
  call("HSET", KEYS[6] .. owner, job .. " " .. name, full)
  put_files(6, owner, nil)
  return { full, 0, ARGV[5] }
elseif ARGV[1] == "find" then
  if not string.find(ARGV[3], "@", 1, true) then return newest(ARGV[3]) end
  local record = call("HGET", KEYS[4] .. owner, ARGV[3])
  return record and { ARGV[3], record } or {}
elseif ARGV[1] == "remove" then
  local record = call("HGET", KEYS[4] .. owner, ARGV[3])
  if not record then return nil end
  local model = cjson.decode(record)
  drop_files(model.files, owner)
  call("HDEL", KEYS[4] .. owner, ARGV[3])
  call("HDEL", KEYS[6] .. owner, model.job_id .. " " .. string.match(ARGV[3], "^(.*)@"))
  return record
end

local list = KEYS[7] .. ARGV[2] -- a checkpoint's: ARGV[2] is the job
local gone = {}
local function drop_from(index)
  for _, text in ipairs(call("LRANGE", list, index, -1)) do
    local manifest = cjson.decode(text)
    drop_files(manifest.files, manifest.owner)
    gone[#gone + 1] = text
  end
end

if ARGV[1] == "save" then
  local last = call("LINDEX", list, 0)
  if last and cjson.decode(last).attempt > tonumber(ARGV[3]) then return { 0, {} } end
  call("LPUSH", list, ARGV[6])
  put_files(9, ARGV[8], ARGV[7])
  drop_from(tonumber(ARGV[4]))
  call("LTRIM", list, 0, tonumber(ARGV[4]) - 1)
  call("PEXPIRE", list, ARGV[5])
  return { 1, gone }
end
drop_from(0)
call("DEL", list)
return gone
