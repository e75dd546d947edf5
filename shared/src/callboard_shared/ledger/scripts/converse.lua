-- Conversations; how a message joins one is in submit.lua, how a reply does in lib.lua (end_turn).
-- ARGV: "create" owner id most(0: any number) title model system keep("": none; keep: ms it lives idle) -> "created" | "limit"
--       | "find" owner id                        -> its fields and number of turns, or nothing; so also:
--       | "change" owner id, then field value …  ("": take it away)
--       | "remove" owner id                      -> 1 or 0; the job that answers is canceled
--       | "turns" owner id first last            -> {number of turns, those}, or nothing
--       | "past" job id                          -> {told, asked, the turns before the job's own}, or nothing
--       | "list" owner newest("+inf" or ms) limit offset -> per conversation {id, fields (false: it is past its time), number
--         of turns}, newest first
local what, owner, id = ARGV[1], ARGV[2], ARGV[3]
local key, turns = K.conversation .. id, K.turns .. id

if what == "create" then
  if call("HEXISTS", K.stats, "full") == 1 then return redis.error_reply("OOM the ledger is nearly full") end
  if call("EXISTS", key) == 1 then return "created" end
  local most = tonumber(ARGV[4])
  if most > 0 and call("ZCARD", K.conversations .. owner) >= most then
    for _, one in ipairs(call("ZRANGE", K.conversations .. owner, 0, -1)) do
      if call("EXISTS", K.conversation .. one) == 0 then call("ZREM", K.conversations .. owner, one) end
    end
    if call("ZCARD", K.conversations .. owner) >= most then return "limit" end
  end
  call("HSET", key, "owner", owner, "created", int(NOW), "bytes", "0")
  for i, field in ipairs({ "title", "model", "system", "keep" }) do
    if ARGV[4 + i] ~= "" then call("HSET", key, field, ARGV[4 + i]) end
  end
  touch(id)
  call("ZADD", K.conversations .. owner, int(NOW), id)
  return "created"
elseif what == "list" then
  local found = {}
  for _, one in ipairs(call("ZREVRANGEBYSCORE", K.conversations .. owner, ARGV[3], "-inf", "LIMIT", ARGV[5], ARGV[4])) do
    local fields = { "title", "model", "created", "updated", "running" }
    local values, known = call("HMGET", K.conversation .. one, unpack(fields)), {}
    for i, name in ipairs(fields) do
      if values[i] then
        known[#known + 1] = name
        known[#known + 1] = values[i]
      end
    end
    if not values[3] then call("ZREM", K.conversations .. owner, one) end
    found[#found + 1] = { one, values[3] and known or false, call("LLEN", K.turns .. one) }
  end
  return found
elseif what == "past" then
  local known = call("HMGET", key, "running", "told", "asked")
  if known[1] ~= owner then return nil end -- here it is the job
  return { known[2], known[3], call("LRANGE", turns, 0, -2) }
end

if call("HGET", key, "owner") ~= owner then return what == "remove" and 0 or nil end
if what == "turns" then return { call("LLEN", turns), call("LRANGE", turns, ARGV[4], ARGV[5]) } end
if what == "remove" then
  local running = call("HGET", key, "running")
  call("DEL", key, turns)
  call("ZREM", K.conversations .. owner, id)
  if running then cancel(running) end
  return 1
end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == "" then call("HDEL", key, ARGV[i]) else call("HSET", key, ARGV[i], ARGV[i + 1]) end
end
if #ARGV > 3 then touch(id) end
return { call("HGETALL", key), call("LLEN", turns) }
