-- ARGV: "get" owner id | "list" owner endpoint(or "") newest("+inf" or ms) limit offset | "forget" limit | "state"
-- get: the record, or false (also of another owner's). list: {id, record}… newest first.
-- forget: strikes records that were kept long enough; how many. state: {flying, waiting lanes, counters…}.
if ARGV[1] == "get" then
  local owner = call("HGET", K.delivery .. ARGV[3], "owner")
  return owner == ARGV[2] and call("HGETALL", K.delivery .. ARGV[3]) or false
elseif ARGV[1] == "list" then
  local index, found = ARGV[3] == "" and K.deliveries .. ARGV[2] or K.sent_to .. ARGV[3], {}
  for _, id in ipairs(call("ZREVRANGEBYSCORE", index, ARGV[4], "-inf", "LIMIT", ARGV[6], ARGV[5])) do
    found[#found + 1] = { id, call("HGETALL", K.delivery .. id) }
  end
  return found
elseif ARGV[1] == "forget" then
  local old = call("ZRANGEBYSCORE", K.kept, "-inf", NOW, "LIMIT", 0, ARGV[2])
  for _, id in ipairs(old) do
    local known = call("HMGET", K.delivery .. id, "owner", "endpoint")
    call("DEL", K.delivery .. id)
    call("ZREM", K.kept, id)
    if known[1] then call("ZREM", K.deliveries .. known[1], id) end
    if known[2] and known[2] ~= "" then call("ZREM", K.sent_to .. known[2], id) end
  end
  return #old
end
return { call("ZCARD", K.held), call("ZCARD", K.lanes), call("HGETALL", K.counters) }
