-- Deliveries to make. ARGV: secret, then a JSON list with per delivery the texts {id owner event message subject queue type
-- run at endpoint url lane host keep final(0/1: no later event of the subject comes)}
-- secret: for owners that have none yet, of what goes to URLs of jobs. Posting an id again changes nothing.
-- Returns how many are new.
local NAMES = { "owner", "event", "message", "subject", "queue", "type", "run", "at", "endpoint", "url", "lane", "host",
  "keep" }
local fresh = 0
for _, texts in ipairs(cjson.decode(ARGV[2])) do
  local id, delivery, fields = texts[1], { tries = "0" }, {}
  if call("EXISTS", K.delivery .. id) == 0 then
    fresh = fresh + 1
    for i, name in ipairs(NAMES) do
      delivery[name] = texts[i + 1]
      fields[2 * i - 1], fields[2 * i] = name, texts[i + 1]
    end
    local owner, endpoint, lane = delivery.owner, delivery.endpoint, delivery.lane
    call("HSET", K.delivery .. id, "created", int(NOW), "status", "pending", "state", "behind", "attempt", "0", "step", "0",
      "tries", "0", unpack(fields))
    call("ZADD", K.deliveries .. owner, NOW, id)
    if endpoint == "" then
      call("HSETNX", K.secret .. owner, "secret", ARGV[1])
    else
      call("ZADD", K.sent_to .. endpoint, NOW, id)
    end
    if endpoint ~= "" and call("HEXISTS", K.endpoint .. endpoint, "disabled_at") == 1 then
      note(id, delivery, remark(NOW, "endpoint-disabled: enable it, then recover"))
      over(id, delivery, "failed")
    else
      -- Events of one subject reach one destination in order: each is tried once, and a retry gives way to what came later.
      local last, behind = K.last .. lane .. "|" .. delivery.subject, false
      local before = call("GET", last)
      local earlier = before and load(before)
      if earlier and earlier.state ~= "over" then
        if earlier.state == "waiting" and earlier.tries ~= "0" then
          give_way(before, earlier)
        else
          call("HSET", K.delivery .. before, "then", id)
          behind = true
        end
      end
      if texts[15] == "1" then call("DEL", last) else call("SET", last, id, "PX", 604800000) end
      if not behind then wait_in_lane(id, lane, NOW) end
    end
  end
end
if fresh > 0 then call_couriers() end
return fresh
