-- ARGV: "put" name entry most_entries most_inboxes keep_ms | "list" name
local key = K.inbox .. ARGV[2]
if ARGV[1] == "put" then
  call("LPUSH", key, ARGV[3])
  call("LTRIM", key, 0, tonumber(ARGV[4]) - 1)
  call("PEXPIRE", key, ARGV[6])
  call("ZREMRANGEBYSCORE", K.inboxes, "-inf", NOW - tonumber(ARGV[6]))
  call("ZADD", K.inboxes, NOW, ARGV[2])
  local over = call("ZCARD", K.inboxes) - tonumber(ARGV[5])
  if over > 0 then
    for _, name in ipairs(call("ZRANGE", K.inboxes, 0, over - 1)) do
      call("DEL", K.inbox .. name)
      call("ZREM", K.inboxes, name)
    end
  end
  return 1
end
return call("LRANGE", key, 0, -1)
