-- Batches: how far the file of each is read, and how it ended. Its jobs, and the tallies of them, are with their queues.
-- A courier has a batch for a time, under an attempt number; what one writes whose number is old changes nothing.
-- ARGV: "put" id owner spec hook retention(ms) most(unfinished, 0: any) watch -> "put" | "existed" | "limit"
--       | "find" id …            -> per id its fields, or false
--       | "watch" id gateway     -> 1, or 0 if there is no such batch
--       | "cancel" id            -> "missing" | "already-ended" | "canceling"
--       | "remove" id owner      -> 1 or 0; only of one that has ended
--       | "list" owner newest("+inf" or ms) limit offset -> ids, with ms
--       | "take" lease(ms)       -> nothing is due: false; or {id, fields (none: it was removed)}
--       | "hold" id attempt lease(ms) -> 1 or 0
--       | "advance" id attempt due_in(ms) fields(number) field value … fault… -> 1 or 0
--       | "end" id attempt status counts(JSON) results(JSON) again -> 1 or 0
--       | "closed" id attempt    -> 1 or 0: there is nothing left to do
--       | "faults" id from to    -> rows
--       | "forget" limit         -> ids of the files that went
local what, id = ARGV[1], ARGV[2]
local key = K.batch .. (id or "")

local function forget_batch(one, owner)
  call("DEL", K.batch .. one, K.faults .. one, K.again .. one)
  call("ZREM", K.batches .. owner, one)
  call("ZREM", K.ended, one)
end

if what == "put" then
  local owner, most = ARGV[3], tonumber(ARGV[7])
  if call("EXISTS", key) == 1 then return "existed" end
  if most > 0 and tonumber(call("HGET", K.open, owner) or "0") >= most then return "limit" end
  call("HSET", key, "owner", owner, "created", int(NOW), "spec", ARGV[4], "hook", ARGV[5], "retention", ARGV[6],
    "attempt", "0")
  if ARGV[8] ~= "" then call("HSET", key, "watch", ARGV[8] .. " ") end
  call("HINCRBY", K.open, owner, 1)
  call("ZADD", K.batches .. owner, int(NOW), id)
  call("ZADD", K.due, int(NOW), id)
  return "put"
elseif what == "find" then
  local reply = {}
  for i = 2, #ARGV do
    local fields = call("HGETALL", K.batch .. ARGV[i])
    reply[#reply + 1] = #fields > 0 and fields
  end
  return reply
elseif what == "list" then
  return call("ZREVRANGEBYSCORE", K.batches .. id, ARGV[3], "-inf", "WITHSCORES", "LIMIT", ARGV[5], ARGV[4])
elseif what == "faults" then
  return call("LRANGE", K.faults .. id, ARGV[3], ARGV[4])
elseif what == "take" then
  local due = call("ZRANGEBYSCORE", K.due, "-inf", NOW, "LIMIT", 0, 1)
  if not due[1] then return false end
  if call("EXISTS", K.batch .. due[1]) == 1 then call("HINCRBY", K.batch .. due[1], "attempt", 1) end
  call("ZADD", K.due, NOW + tonumber(ARGV[2]), due[1])
  return { due[1], call("HGETALL", K.batch .. due[1]) }
elseif what == "forget" then
  local freed = {}
  for _, one in ipairs(call("ZRANGEBYSCORE", K.ended, "-inf", NOW, "LIMIT", 0, id)) do -- here it is the limit
    local kept = call("HMGET", K.batch .. one, "owner", "output", "errors")
    if kept[2] then freed[#freed + 1] = kept[2] end
    if kept[3] then freed[#freed + 1] = kept[3] end
    forget_batch(one, kept[1] or "")
  end
  return freed
end

local known = call("HMGET", key, "owner", "finished", "watch", "attempt")
if what == "cancel" then
  if not known[1] then return "missing" end
  if known[2] then return "already-ended" end
  call("HSET", key, "canceling", "1")
  return "canceling"
elseif what == "closed" then
  if known[1] and known[4] ~= ARGV[3] then return 0 end
  return call("ZREM", K.due, id)
end
if not known[1] then return 0 end
if what == "watch" then
  local watch = known[3] or ""
  if not string.find(watch, ARGV[3], 1, true) then call("HSET", key, "watch", watch .. ARGV[3] .. " ") end
  return 1
elseif what == "remove" then
  if known[1] ~= ARGV[3] or not known[2] then return 0 end
  forget_batch(id, known[1])
  return 1
end
-- What is left is for the courier that has it.
if known[4] ~= ARGV[3] then return 0 end
if what == "hold" then
  call("ZADD", K.due, NOW + tonumber(ARGV[4]), id)
  return 1
end
if known[2] then return 0 end
if what == "advance" then
  local fields = 2 * tonumber(ARGV[5])
  if fields > 0 then call("HSET", key, unpack(ARGV, 6, 5 + fields)) end
  for i = 6 + fields, #ARGV do call("RPUSH", K.faults .. id, ARGV[i]) end
  call("ZADD", K.due, NOW + tonumber(ARGV[4]), id)
  return 1
end
-- It ends: status, outbox and news in this one step; its tallies are yet to go.
local status = ARGV[4]
local about = call("HMGET", key, "hook", "retention")
call("HSET", key, "status", status, "finished", int(NOW), "counts", ARGV[5], "results", ARGV[6])
call("DEL", K.faults .. id)
if ARGV[7] ~= "" then call("SET", K.again .. id, ARGV[7]) end
if call("HINCRBY", K.open, known[1], -1) <= 0 then call("HDEL", K.open, known[1]) end
call("ZADD", K.ended, NOW + tonumber(about[2]), id)
call("ZADD", K.due, int(NOW), id)
tell("batch", id, status, { hook = about[1], owner = known[1], type = "batch", retention = about[2] }, "1")
notify(id, known[3])
return 1
