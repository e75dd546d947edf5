-- Pipelines: what each is made of and how its steps ended. The steps themselves are jobs, in the keys of their queues.
-- How one is accepted is in accept.lua.
-- ARGV: "find" id …            -> per id its fields, or false
--       | "watch" id gateway     -> 1, or 0 if there is no such pipeline
--       | "cancel" id            -> "missing" | "already-ended" | "canceling"
--       | "carried" id canceled(0/1) -> 1: its jobs are submitted (and canceled); 0: they are yet to be canceled
--       | "ended" id job status  -> "missing" | "ended" (it had) | "goes on" | how the pipeline has ended with this step
--       | "remove" id owner      -> 1 or 0
--       | "list" owner newest("+inf" or ms) limit offset -> ids, with ms
--       | "sweep" limit          -> {ids that somebody left undone, number forgotten}
local what, id = ARGV[1], ARGV[2]
local key = K.pipeline .. (id or "")

local function forget_pipeline(one, owner)
  call("DEL", K.pipeline .. one)
  call("ZREM", K.pipelines .. owner, one)
  call("ZREM", K.ended, one)
  call("ZREM", K.due, one)
end

-- How a pipeline ended whose last step just did.
local function outcome()
  local fields, succeeded = call("HGETALL", key), true
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 4) == "end:" and fields[i + 1] ~= "succeeded" then succeeded = false end
  end
  if succeeded then return "succeeded" end
  return call("HEXISTS", key, "canceling") == 1 and "canceled" or "failed"
end

if what == "find" then
  local reply = {}
  for i = 2, #ARGV do
    local fields = call("HGETALL", K.pipeline .. ARGV[i])
    reply[#reply + 1] = #fields > 0 and fields
  end
  return reply
elseif what == "list" then
  return call("ZREVRANGEBYSCORE", K.pipelines .. id, ARGV[3], "-inf", "WITHSCORES", "LIMIT", ARGV[5], ARGV[4])
elseif what == "sweep" then
  local old = call("ZRANGEBYSCORE", K.ended, "-inf", NOW, "LIMIT", 0, id) -- here it is the limit
  for _, one in ipairs(old) do forget_pipeline(one, call("HGET", K.pipeline .. one, "owner") or "") end
  local undone = call("ZRANGEBYSCORE", K.due, "-inf", NOW, "LIMIT", 0, id)
  for _, one in ipairs(undone) do call("ZADD", K.due, NOW + PATIENCE_MS, one) end
  return { undone, #old }
end

local known = call("HMGET", key, "owner", "finished", "watch", "hook", "retention", "canceling")
if not known[1] then
  if what == "cancel" or what == "ended" then return "missing" end
  return 0
end
if what == "watch" then
  local watch = known[3] or ""
  if not string.find(watch, ARGV[3], 1, true) then call("HSET", key, "watch", watch .. ARGV[3] .. " ") end
  return 1
elseif what == "cancel" then
  if known[2] then return "already-ended" end
  call("HSET", key, "canceling", "1")
  call("ZADD", K.due, NOW + PATIENCE_MS, id)
  return "canceling"
elseif what == "carried" then
  call("HDEL", key, "jobs")
  if known[6] and ARGV[3] == "0" then return 0 end
  call("ZREM", K.due, id)
  return 1
elseif what == "remove" then
  if known[1] ~= ARGV[3] then return 0 end
  forget_pipeline(id, known[1])
  return 1
end
-- A step ended. Each counts once, and the last one ends the pipeline: status, outbox and news in this one step.
if known[2] then return "ended" end
if call("HSETNX", key, "end:" .. ARGV[3], ARGV[4]) == 0 or call("HINCRBY", key, "left", -1) > 0 then return "goes on" end
local status = outcome()
call("HSET", key, "status", status, "finished", int(NOW))
call("HDEL", key, "jobs")
call("ZREM", K.due, id)
call("ZADD", K.ended, NOW + tonumber(known[5]), id)
tell("pipeline", id, status, { hook = known[4], owner = known[1], type = "pipeline", retention = known[5] }, "1")
notify(id, known[3])
return status
