-- ARGV: "create" owner id most url host events description secret | "change" owner id field value… | "enable" owner id
--       | "disable" owner id reason | "remove" owner id | "rotate" owner id secret keep_ms | "secrets" owner id
--       | "list" owner | "own" owner candidate | "rotate-own" owner secret keep_ms
-- own: the secret of the owner itself (and those that still sign beside it), the candidate if there was none yet.
-- The others that change give {revision, {id, record}… of all endpoints of the owner}, false where there is no such
-- endpoint, 0 where there are too many.
local what, owner, id = ARGV[1], ARGV[2], ARGV[3]

if what == "own" then
  call("HSETNX", K.secret .. owner, "secret", ARGV[3])
  return secrets_of(K.secret .. owner)
elseif what == "rotate-own" then
  rotate(K.secret .. owner, ARGV[3], tonumber(ARGV[4]))
  return secrets_of(K.secret .. owner)
end

local key = K.endpoint .. (id or "")
if what == "create" then
  if call("ZCARD", K.endpoints .. owner) >= tonumber(ARGV[4]) then return 0 end
  call("HSET", key, "owner", owner, "url", ARGV[5], "host", ARGV[6], "events", ARGV[7], "description", ARGV[8], "secret",
    ARGV[9], "created", int(NOW), "updated", int(NOW))
  call("ZADD", K.endpoints .. owner, NOW, id)
elseif what ~= "list" then
  if call("HGET", key, "owner") ~= owner then return false end
  if what == "secrets" then return secrets_of(key) end
  if what == "remove" then
    call("DEL", key, K.health .. id)
    call("ZREM", K.endpoints .. owner, id)
    if call("EXISTS", K.lane .. id) == 1 then call("ZADD", K.lanes, "LT", NOW, id) end
    call_couriers()
  else
    call("HSET", key, "updated", int(NOW))
    if what == "change" then
      call("HSET", key, unpack(ARGV, 4))
    elseif what == "enable" then
      call("HDEL", key, "disabled_at", "disabled_reason")
      call("DEL", K.health .. id)
    elseif what == "disable" then
      if call("HEXISTS", key, "disabled_at") == 0 then disable(id, ARGV[4]) end
      call_couriers()
    elseif what == "rotate" then
      rotate(key, ARGV[4], tonumber(ARGV[5]))
    end
  end
end

local revision = what == "list" and (call("HGET", K.revisions, owner) or "0") or call("HINCRBY", K.revisions, owner, 1)
local found = { revision }
for _, one in ipairs(call("ZREVRANGE", K.endpoints .. owner, 0, -1)) do
  found[#found + 1] = { one, call("HGETALL", K.endpoint .. one) }
end
return found
