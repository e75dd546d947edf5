-- ARGV: gateway limit, then per reader: id after(id of an event; "": none are wanted). From now on the gateway hears of
-- these jobs. Returns per reader false if there is no such job, else {status, events, oldest first, at most limit}.
local reply = {}
for i = 3, #ARGV, 2 do
  local id, after = ARGV[i], ARGV[i + 1]
  local known = call("HMGET", K.job .. id, "status", "watch")
  if not known[1] then
    reply[#reply + 1] = false
  else
    add_watcher(id, known[2], ARGV[1])
    local events = after == "" and {} or call("XRANGE", K.events .. id, "(" .. after, "+", "COUNT", ARGV[2])
    reply[#reply + 1] = { known[1], events }
  end
end
return reply
