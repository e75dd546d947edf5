-- ARGV: "read" | "pause" | "resume". Returns {ring, ready, running, scheduled, blocked, workers, slots,
-- oldest wait in ms, rate, paused, stale commits refused}.
local ring = 0
if ARGV[1] == "pause" then
  call("HSET", K.stats, "paused", int(NOW))
elseif ARGV[1] == "resume" and call("HDEL", K.stats, "paused") == 1 and total_ready() > 0 then
  ring = call_for_hands()
end
local oldest = 0
for _, priority in ipairs(call("HKEYS", K.ready)) do
  for _, owner in ipairs(call("ZRANGE", K.rota .. priority, 0, 199)) do
    local first = call("ZRANGE", line_key(priority, owner), 0, 0)[1]
    local since = first and call("HMGET", K.job .. first, "created", "ready_at") or {}
    if since[1] then oldest = math.max(oldest, NOW - tonumber(since[2] or since[1])) end
  end
end
local slots = 0
local online = call("ZRANGEBYSCORE", K.workers, NOW, "+inf")
for _, worker in ipairs(online) do slots = slots + tonumber(call("HGET", K.worker .. worker, "slots") or "0") end
local s = call("HMGET", K.stats, "rate", "paused", "stale")
return { ring, total_ready(), call("ZCARD", K.lease), call("ZCARD", K.due), call("ZCARD", K.blocked), #online, slots,
  oldest, s[1] or "0", s[2] and 1 or 0, tonumber(s[3] or "0") }
