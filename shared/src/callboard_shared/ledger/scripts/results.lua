-- ARGV: most_bytes, ids. Returns per job false (not there) or {status, type, created, error, label, output}, in order;
-- fewer than asked for when these are as many bytes as wanted (at least one).
local most, bytes, reply = tonumber(ARGV[1]), 0, {}
for i = 2, #ARGV do
  local kept = call("HMGET", K.job .. ARGV[i], "status", "type", "created", "error", "label")
  if kept[1] then
    kept[6] = call("GET", K.output .. ARGV[i])
    bytes = bytes + #(kept[6] or "") + #(kept[4] or "")
    reply[#reply + 1] = kept
  else
    reply[#reply + 1] = false
  end
  if bytes >= most then break end
end
return reply
