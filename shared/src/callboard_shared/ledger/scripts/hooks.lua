-- What the scripts about webhooks share. KEYS[1] is their base key; K holds the keys by name (see keys.py).
-- A delivery is one event on its way to one URL. Its state: waiting (in its lane, for its time) · flying (a courier
-- tries it) · skipped (a courier puts it off, its circuit being open) · behind (an earlier event of the same subject goes first) · over. What goes to one endpoint, or to one URL
-- of jobs, waits in one lane, so that no destination delays another.
local call = redis.call
local clock = call("TIME")
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local MOST_TRIES = 20

local function int(value) return string.format("%.0f", value) end

local FIELDS = { "state", "status", "attempt", "step", "tries", "lane", "host", "endpoint", "keep", "owner", "then",
  "claimed" }

local function load(id)
  local values = call("HMGET", K.delivery .. id, unpack(FIELDS))
  if not values[1] then return nil end
  local delivery = {}
  for i, name in ipairs(FIELDS) do delivery[name] = values[i] or nil end
  return delivery
end

-- A lane is served when its first delivery is due.
local function show_lane(lane)
  local first = call("ZRANGE", K.lane .. lane, 0, 0, "WITHSCORES")
  if first[1] then call("ZADD", K.lanes, first[2], lane) else call("ZREM", K.lanes, lane) end
end

local function wait_in_lane(id, lane, due)
  call("HSET", K.delivery .. id, "state", "waiting", "next", int(due))
  call("ZADD", K.lane .. lane, due, id)
  call("ZADD", K.lanes, "LT", due, lane)
end

-- One more line in a delivery's account: JSON of {at, status_code, latency_ms, response, error}.
local function note(id, delivery, try)
  local n = tonumber(delivery.tries) + 1
  delivery.tries = int(n)
  call("HSET", K.delivery .. id, "tries", delivery.tries, "t" .. n, try)
  if n > MOST_TRIES then call("HDEL", K.delivery .. id, "t" .. (n - MOST_TRIES)) end
end

local function remark(at, text)
  return '{"at":' .. int(at) .. ',"status_code":null,"latency_ms":null,"response":null,"error":"' .. text .. '"}'
end

-- The delivery is tried no more; what waits behind it goes.
local function over(id, delivery, status)
  call("HSET", K.delivery .. id, "state", "over", "status", status)
  call("HDEL", K.delivery .. id, "next", "then")
  call("ZADD", K.kept, NOW + tonumber(delivery.keep), id)
  call("HINCRBY", K.counters, status, 1)
  if delivery["then"] then wait_in_lane(delivery["then"], delivery.lane, NOW) end
end

-- A try of an event failed, and a later one of the same subject is there: that goes instead.
local function give_way(id, delivery)
  call("ZREM", K.lane .. delivery.lane, id)
  note(id, delivery, remark(NOW, "superseded: a later event of the same subject goes instead"))
  call("HSET", K.delivery .. id, "superseded", "1")
  over(id, delivery, "failed")
end

-- A try has ended, whatever came of it; who waited for room at its host may go. (Two for one: a lane may have nothing
-- left to send. When the host is idle, all may.)
local function land(id, delivery)
  call("ZREM", K.held, id)
  show_lane(delivery.lane)
  if delivery.state ~= "flying" then return end
  local left = 0
  for _, place in ipairs({ delivery.lane, delivery.host }) do
    left = call("HINCRBY", K.flying, place, -1)
    if left <= 0 then call("HDEL", K.flying, place) end
  end
  local parked = call("ZPOPMIN", K.parked .. delivery.host, left <= 0 and 1000 or 2)
  for i = 1, #parked, 2 do show_lane(parked[i]) end
end

local function secrets_of(key)
  local kept = call("HMGET", key, "secret", "old")
  local found = kept[1] or ""
  for secret, till in string.gmatch(kept[2] or "", "(%S+) (%d+)") do
    if tonumber(till) > NOW then found = found .. " " .. secret end
  end
  return found
end

-- A new secret; those before sign too, for keep_ms.
local function rotate(key, secret, keep_ms)
  local kept = call("HMGET", key, "secret", "old")
  local old, n = kept[1] and kept[1] .. " " .. int(NOW + keep_ms) or "", 1
  for before, till in string.gmatch(kept[2] or "", "(%S+) (%d+)") do
    if tonumber(till) > NOW and n < 5 then
      old = old .. " " .. before .. " " .. till
      n = n + 1
    end
  end
  call("HSET", key, "secret", secret, "old", old)
end

-- Nothing goes to this endpoint until it is enabled; what waits for it is ended when its lane is next served.
local function disable(id, reason)
  call("HSET", K.endpoint .. id, "disabled_at", int(NOW), "disabled_reason", reason)
  if call("EXISTS", K.lane .. id) == 1 then call("ZADD", K.lanes, "LT", NOW, id) end
end

-- Something is to be delivered now.
local function call_couriers() call("PUBLISH", HOOK_NEWS, "") end
