-- 0 to 1. KEYS: job, spec, for each job. A job's hook was the statuses alone, and its URL only in what was submitted.
local call = redis.call
local changed = 0
for i = 1, #KEYS, 2 do
  local hook, spec = call("HGET", KEYS[i], "hook"), call("GET", KEYS[i + 1])
  if hook and spec and not string.find(hook, " ", 1, true) then
    local webhook = cjson.decode(spec).webhook
    if type(webhook) == "table" and webhook.url then
      call("HSET", KEYS[i], "hook", hook .. " " .. webhook.url)
      changed = changed + 1
    end
  end
end
return changed
