-- 0 to 1. KEYS: bytes by owner, records that are counted already, then the records to count. What each owner has stored.
local call = redis.call
for i = 3, #KEYS do
  local raw = call("GET", KEYS[i])
  if raw and call("SADD", KEYS[2], KEYS[i]) == 1 then
    local record = cjson.decode(raw)
    call("HINCRBY", KEYS[1], record.owner, string.format("%.0f", record.bytes))
  end
end
return 1
