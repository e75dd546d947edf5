-- A courier takes deliveries that are due, each with a lease and an attempt number.
-- ARGV: most per_lane per_host lease_ms last_step failing_from failing_room
-- failing_from: a destination of which so many tries in a row failed gets failing_room tries at a time.
-- Returns {now, ms until something is due, {id attempt skip(0/1) secrets fields…}…}; skip: the circuit of its destination
-- is open, and it goes on to its next time without a try.
local most, per_lane, per_host, lease_ms, last_step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]),
  tonumber(ARGV[4]), tonumber(ARGV[5])
local failing_from, failing_room = tonumber(ARGV[6]), tonumber(ARGV[7])
local rows = {}

-- The courier that tried it is dead, or was silent for too long: whether the receiver got it is not known.
for _, id in ipairs(call("ZRANGEBYSCORE", K.held, "-inf", NOW, "LIMIT", 0, 500)) do
  local delivery = load(id)
  if delivery and (delivery.state == "flying" or delivery.state == "skipped") then
    note(id, delivery, remark(delivery.claimed, "courier-lost: sent again, under the same webhook-id"))
    call("ZADD", K.lane .. delivery.lane, NOW, id)
    call("HSET", K.delivery .. id, "state", "waiting", "next", int(NOW))
    land(id, delivery)
  else
    call("ZREM", K.held, id)
  end
end

local function end_all(lane, why)
  for _, id in ipairs(call("ZRANGE", K.lane .. lane, 0, 199)) do
    local delivery = load(id)
    call("ZREM", K.lane .. lane, id)
    if delivery then
      note(id, delivery, remark(NOW, why))
      over(id, delivery, "failed")
    end
  end
  if call("EXISTS", K.lane .. lane) == 1 then call("ZADD", K.lanes, NOW, lane) else call("ZREM", K.lanes, lane) end
end

-- Where the deliveries of a lane go now; nil when that is no more.
local function destination(lane)
  if string.sub(lane, 1, 4) ~= "whe_" then return {} end
  local endpoint = call("HMGET", K.endpoint .. lane, "url", "host", "disabled_at")
  if not endpoint[1] then return nil, "endpoint-deleted" end
  if endpoint[3] then return nil, "endpoint-disabled: enable it, then recover" end
  return { url = endpoint[1], host = endpoint[2], secrets = secrets_of(K.endpoint .. lane) }
end

-- Gives the host's name where that has no room; then nothing is taken.
local function take(id, lane, to, skip)
  local key = K.delivery .. id
  local d = call("HMGET", key, "owner", "event", "message", "subject", "queue", "type", "run", "at", "url", "host", "step")
  local url, host = to.url or d[9], to.host or d[10]
  skip = skip and tonumber(d[11]) < last_step
  if not skip and tonumber(call("HGET", K.flying, host) or "0") >= per_host then return host end
  call("ZREM", K.lane .. lane, id)
  call("HSET", key, "state", skip and "skipped" or "flying", "claimed", int(NOW), "url", url, "host", host)
  call("ZADD", K.held, NOW + lease_ms, id)
  if not skip then
    call("HINCRBY", K.flying, lane, 1)
    call("HINCRBY", K.flying, host, 1)
  end
  rows[#rows + 1] = { id, call("HINCRBY", key, "attempt", 1), skip and 1 or 0,
    to.secrets or secrets_of(K.secret .. d[1]), d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], url, d[11] }
end

local function serve(lane, share)
  local to, why = destination(lane)
  if not to then return end_all(lane, why) end
  local health = call("HMGET", K.health .. lane, "failures", "open_until")
  local room = tonumber(health[1] or "0") >= failing_from and math.min(failing_room, per_lane) or per_lane
  local skip = health[2] and tonumber(health[2]) > NOW
  if health[2] then room = 1 end -- the next one is the probe
  local free = skip and share or room - tonumber(call("HGET", K.flying, lane) or "0")
  if free <= 0 then return call("ZREM", K.lanes, lane) end -- shown again when a try lands
  for _, id in ipairs(call("ZRANGEBYSCORE", K.lane .. lane, "-inf", NOW, "LIMIT", 0, math.min(free, share, most - #rows))) do
    local full = take(id, lane, to, skip)
    if full then
      call("ZADD", K.parked .. full, NOW, lane)
      return call("ZREM", K.lanes, lane)
    end
  end
  show_lane(lane)
end

local lanes = most > 0 and call("ZRANGEBYSCORE", K.lanes, "-inf", NOW, "LIMIT", 0, 200) or {}
for _, lane in ipairs(lanes) do
  if #rows >= most then break end
  serve(lane, math.max(1, math.floor(most / #lanes)))
end

local next_ms = 60000
for _, first in ipairs({ call("ZRANGE", K.lanes, 0, 0, "WITHSCORES"), call("ZRANGE", K.held, 0, 0, "WITHSCORES") }) do
  if first[1] then next_ms = math.max(0, math.min(next_ms, tonumber(first[2]) - NOW)) end
end
return { int(NOW), next_ms, unpack(rows) }
